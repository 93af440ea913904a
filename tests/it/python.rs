//! The Python programs that tests drive.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where they are; installs them where they are not.
pub fn python_tools() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/python-tools");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "scripts/python-tools failed");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
