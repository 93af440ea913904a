//! `jcas call`: sends a company's call and prints the answer.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use clap::Args;

use super::out;

/// Longest wait for an answer.
const TIMEOUT: std::time::Duration = std::time::Duration::from_mins(1);

/// Send a company's call and print the answer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  export JCAS_URL=http://127.0.0.1:8080 JCAS_API_KEY=jcas_...
  jcas call GET /v1/whoami
  jcas call POST /v1/users/lookup '{\"email\":\"ada@example.com\"}'
  echo '{\"profile\":{\"given_name\":\"Ada\"}}' | jcas call PATCH /v1/users/ID -")]
pub struct CallArgs {
    /// GET, POST, PUT, PATCH or DELETE.
    method: String,
    /// The path, with its query: /v1/whoami
    path: String,
    /// The body; - reads it from standard input.
    json: Option<String>,
    /// Where JCAS is.
    #[arg(long, env = "JCAS_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The API key.
    #[arg(long, env = "JCAS_API_KEY", hide_env_values = true)]
    api_key: String,
}

/// Sends it. Statuses from 400 on are a failure; the answer is printed all the same.
pub fn run(args: &CallArgs) -> anyhow::Result<()> {
    let body = match args.json.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            Some(text)
        }
        body => body.map(str::to_owned),
    };
    let url = format!("{}{}", args.url.trim_end_matches('/'), args.path);
    let header = ("X-Api-Key", args.api_key.as_str());
    let (status, answer) = send(&args.method, &url, header, body.as_deref())?;
    out::line(&answer)?;
    if status >= 400 {
        bail!("the call was answered with status {status}");
    }
    Ok(())
}

/// Sends a call and returns status and body.
pub(super) fn send(
    method: &str,
    url: &str,
    (name, value): (&str, &str),
    body: Option<&str>,
) -> anyhow::Result<(u16, String)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .allow_non_standard_methods(true)
        .build()
        .into();
    let request = ureq::http::Request::builder().method(method).uri(url).header(name, value);
    let answered = match body {
        Some(body) => {
            let request = request.header("Content-Type", "application/json");
            agent.run(request.body(body.to_owned()).context("the call is not valid")?)
        }
        None => agent.run(request.body(()).context("the call is not valid")?),
    };
    let mut answer = answered.with_context(|| format!("no answer from {url}; is jcas running?"))?;
    let status = answer.status().as_u16();
    Ok((status, answer.body_mut().read_to_string().context("the answer broke off")?))
}
