//! The program `jcas`: see `jcas --help`.

use std::process::ExitCode;

/// A fifth of a busy node's time was the system's allocator: small pieces are made in one thread
/// and freed in another all the time, which this one is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    jcas::cli::run()
}
