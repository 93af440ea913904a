//! What the tests of this room share.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::task::{Context, Poll, Waker};

use super::{Deployment, InitOptions, init};
use crate::kms::{KmsError, KmsFuture};

/// What every node has.
pub(super) const KEY_FILES: [&str; 3] = ["index.key", "region-wrapping.key", "region-signing.key"];

/// Different bytes at every draw, the same in every run.
pub(super) fn counting(start: u8) -> impl FnMut(&mut [u8]) -> Result<(), getrandom::Error> {
    let mut next = start;
    move |bytes| {
        bytes.fill_with(|| {
            next = next.wrapping_add(1);
            next
        });
        Ok(())
    }
}

/// The deployment retail, whose first node is west/n1.
pub(super) fn options() -> InitOptions {
    InitOptions {
        name: "retail".parse().unwrap(),
        first: "west/n1".parse().unwrap(),
        further: Vec::new(),
    }
}

/// That deployment, made in `folder`.
pub(super) fn made(folder: &Path) -> Deployment {
    made_with(folder, &[])
}

/// That deployment, with bundles for further nodes.
pub(super) fn made_with(folder: &Path, further: &[&str]) -> Deployment {
    let further = further.iter().map(|name| name.parse().unwrap()).collect();
    init(folder, &InitOptions { further, ..options() }, &mut getrandom::fill).unwrap()
}

/// What lies in a folder.
pub(super) fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What lies in the data folder of a node that has just joined.
pub(super) fn files_of_joined() -> BTreeSet<String> {
    ["catching-up", "deployment.json", "keys"].map(str::to_owned).into()
}

/// Its permission bits.
pub(super) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The answer of a KMS that waits for nothing.
pub(super) fn now<T>(mut future: KmsFuture<'_, T>) -> Result<T, KmsError> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the local KMS waits for nothing"),
    }
}
