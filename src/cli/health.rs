//! `jcas health`: asks the node of these settings how it is, for whatever watches over it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::config::Config;

use super::out;

/// Longest wait for the answer: a node that is well answers at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Ask the node of these settings how it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0: it answers calls, maybe with something to look at; 1: it does not.

Examples:
  jcas health
  jcas --config /etc/jcas.toml health --json
  HEALTHCHECK CMD [\"jcas\", \"health\"]          in a Dockerfile")]
pub struct HealthArgs {
    /// Print the node's whole answer.
    #[arg(long)]
    json: bool,
}

/// Asks through the operator listener, which needs no token for this and no TLS.
pub fn run(config: &Config, args: &HealthArgs) -> anyhow::Result<()> {
    let url = format!("http://{}/health/ready", config.http.operator_listen);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .build()
        .into();
    let answered = agent.get(&url).call();
    let mut answer = answered.with_context(|| format!("no answer from {url}; is jcas running?"))?;
    let text = answer.body_mut().read_to_string().context("the answer broke off")?;
    let report: Value = serde_json::from_str(&text).context("the answer is not JSON")?;
    let word = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or("unknown").to_owned()
    };
    let status = word(&report, "status");
    if args.json {
        out::line(&text)?;
    } else {
        out::line(&status)?;
        for check in report.get("checks").and_then(Value::as_array).into_iter().flatten() {
            out::line(&format!("  {}: {}", word(check, "name"), word(check, "state")))?;
        }
    }
    if answer.status() != 200 {
        bail!("the node is {status}");
    }
    Ok(())
}
