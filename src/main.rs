//! The program `jcas`: see `jcas --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    jcas::cli::run()
}
