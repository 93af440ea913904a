//! `jcas check-config`: reads the settings and names everything that is wrong with them.

use std::path::Path;
use std::process::ExitCode;

use crate::app::listeners::certificate;
use crate::config::Config;
use crate::config::http::HttpConfig;

use super::out;

/// Reads the certificate, where one is named.
fn check_certificate(http: &HttpConfig) -> Result<(), String> {
    match certificate(http) {
        Err(error) => Err(error.to_string()),
        Ok(Some(tls)) if tls.snapshot().expires_in_ms <= 0 => {
            Err(format!("{} has expired", http.tls.cert_file.display()))
        }
        Ok(_) => Ok(()),
    }
}

/// Says what is wrong, or that nothing is.
pub fn run(file: Option<&Path>) -> ExitCode {
    match Config::load(file, std::env::vars_os()) {
        Ok(config) => {
            if let Err(problem) = check_certificate(&config.http) {
                out::note(&problem);
                return ExitCode::FAILURE;
            }
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
