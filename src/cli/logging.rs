//! Where the program's own lines go.

use tracing_subscriber::EnvFilter;

use crate::config::logging::{LogFormat, LoggingConfig};

use super::out;

/// Sends log lines to standard error as the settings say. Called once.
pub fn start(config: &LoggingConfig) {
    let level = config.level.as_str();
    // The framework calls it an error when a stranger sends no request: that would fill the disk.
    // A broker's library writes errors of its own; what is known of a broker is told by ours.
    let off = "actix_http=off,lapin=off";
    let filter = EnvFilter::new(format!("warn,{off},jcas={level}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.format == LogFormat::Json {
        out::json_lines();
    }
    match config.format {
        LogFormat::Json => drop(lines.json().flatten_event(true).with_span_list(false).try_init()),
        LogFormat::Text => drop(lines.with_target(false).try_init()),
    }
}
