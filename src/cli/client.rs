//! `jcas call`: sends a company's call and prints the answer.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

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
    /// Whom to trust with https: certificates in PEM. Without it, the public authorities.
    #[arg(long, env = "JCAS_CA_FILE")]
    ca_file: Option<PathBuf>,
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
    let agent = agent(args.ca_file.as_deref())?;
    let (status, answer) = send(&agent, &args.method, &url, header, body.as_deref())?;
    out::line(&answer)?;
    if status >= 400 {
        bail!("the call was answered with status {status}");
    }
    Ok(())
}

/// What calls are sent with: with https it trusts the certificates of a file, or without one the
/// public authorities.
pub(super) fn agent(ca_file: Option<&Path>) -> anyhow::Result<ureq::Agent> {
    let roots = match ca_file {
        Some(file) => RootCerts::Specific(Arc::new(certificates(file)?)),
        None => RootCerts::WebPki,
    };
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .allow_non_standard_methods(true)
        .tls_config(TlsConfig::builder().root_certs(roots).build());
    Ok(config.build().into())
}

fn certificates(file: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    let found: Vec<_> = found
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not PEM", file.display()))?;
    ensure!(!found.is_empty(), "{} holds no certificate in PEM", file.display());
    Ok(found)
}

/// Sends a call and returns status and body.
pub(super) fn send(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    (name, value): (&str, &str),
    body: Option<&str>,
) -> anyhow::Result<(u16, String)> {
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
