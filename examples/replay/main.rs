//! Makes the sample logs of docs/replay.md: `cargo run --example replay -- examples/replay`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it makes what is known, and ends where it cannot"
)]

#[path = "../../tests/support/sample_log.rs"]
mod sample_log;

fn main() {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| "examples/replay".into());
    let space = tempfile::tempdir().unwrap();
    sample_log::write(folder.as_ref(), space.path());
}
