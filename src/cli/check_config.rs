//! `jcas check-config`: reads the settings and names everything that is wrong with them.

use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;

use super::out;

/// Says what is wrong, or that nothing is.
pub fn run(file: Option<&Path>) -> ExitCode {
    match Config::load(file, std::env::vars_os()) {
        Ok(config) => {
            let data = crate::app::data_folder(&config);
            out::note(&format!("the settings are fine; the data folder is {}", data.display()));
            ExitCode::SUCCESS
        }
        Err(faults) => {
            out::note(&faults.to_string());
            ExitCode::FAILURE
        }
    }
}
