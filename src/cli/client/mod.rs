//! `jcas call`: signs a company's call, sends it and prints the answer. `jcas sync` is in `sync`.

mod patience;
mod profile;
mod sign;
pub mod sync;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

use crate::accounts::signing::ClientKey;

use self::sign::{Signer, ask_who, key_id};
use super::out;

pub(super) use self::profile::Profile;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Where JCAS is unless somebody says otherwise.
const USUAL_URL: &str = "http://127.0.0.1:8080";

/// What calls are signed with: the environment variable. It has no option, since the arguments of a
/// program can be read by others.
const SIGNING_KEY: &str = "JCAS_SIGNING_KEY";

/// Send a company's call and print the answer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  export JCAS_URL=http://127.0.0.1:8080 JCAS_API_KEY=jcas_... JCAS_SIGNING_KEY=...
  jcas call GET /v1/whoami
  jcas call POST /v1/users/lookup '{\"email\":\"ada@example.com\"}'
  echo '{\"profile\":{\"given_name\":\"Ada\"}}' | jcas call PATCH /v1/users/ID -
  jcas call POST /v1/users - --idempotency-key order-4711 < user.json

Calls are signed where JCAS_SIGNING_KEY is set: to the secret that `jcas key issue` printed, or to a
private JWK. What the environment does not say is taken from the profile, a JSON file of mode 0600
with url, company, audience, api_key and signing_key (`jcas key issue --profile FILE` makes one).")]
pub struct CallArgs {
    /// GET, POST, PUT, PATCH or DELETE.
    method: String,
    /// The path, with its query: /v1/whoami
    path: String,
    /// The body; - reads it from standard input.
    json: Option<String>,
    /// What makes a POST safe to send again: with the same key it is given the first answer for 24
    /// hours. 1 to 64 printable ASCII characters, new for each new request.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    way: WayArgs,
}

/// Where JCAS is, and who calls.
#[derive(Debug, Args)]
struct WayArgs {
    /// Where JCAS is. Else the profile's, or this machine's.
    #[arg(long, env = "JCAS_URL")]
    url: Option<String>,
    /// The API key.
    #[arg(long, env = "JCAS_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The profile; ~/.config/jcas/profile.json if that is there.
    #[arg(long, env = "JCAS_PROFILE", value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Whom to trust with https: certificates in PEM. Without it, the public authorities.
    #[arg(long, env = "JCAS_CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// The way to JCAS.
struct Way {
    agent: ureq::Agent,
    base: String,
    api_key: Zeroizing<String>,
    /// None where no signing key is set.
    signer: Option<Signer>,
}

impl Way {
    fn open(args: &WayArgs) -> anyhow::Result<Self> {
        let profile = Profile::read(args.profile.as_deref())?;
        let given = args.url.as_deref().filter(|url| !url.is_empty()).or(profile.url.as_deref());
        let base = given.unwrap_or(USUAL_URL).trim_end_matches('/').to_owned();
        let known = profile.api_key.as_ref().map(|key| key.as_str());
        let api_key = args.api_key.as_deref().or(known);
        let api_key =
            api_key.context("an API key is needed: JCAS_API_KEY, or api_key in a profile")?;
        let agent = agent(args.ca_file.as_deref())?;
        let signer = signer(&agent, &base, api_key, &profile)?;
        Ok(Self { agent, base, api_key: Zeroizing::new(api_key.to_owned()), signer })
    }
}

/// A path as it is signed: with its query, as it is sent.
fn target_of(url: &str) -> anyhow::Result<String> {
    let target: ureq::http::Uri = url.parse().context("the path is not valid")?;
    Ok(target.path_and_query().map_or("/", |target| target.as_str()).to_owned())
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
    let Way { agent, base, api_key, signer } = Way::open(&args.way)?;
    let url = format!("{base}{}", args.path);
    let mut headers = vec![("X-Api-Key", api_key.as_str())];
    let mut body = body.map(Zeroizing::new);
    let bearer;
    let again = args.idempotency_key.as_deref();
    headers.extend(again.map(|key| ("Idempotency-Key", key)));
    if let Some(signer) = signer {
        let target = target_of(&url)?;
        let json = body.as_ref().map(|body| body.as_str());
        let token = signer.token(&args.method, &target, json, again)?;
        if body.is_some() {
            body = Some(Zeroizing::new(format!("{{\"jwt\":\"{}\"}}", token.as_str())));
        } else {
            bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
            headers.push(("Authorization", bearer.as_str()));
        }
    }
    let body = body.as_ref().map(|body| body.as_str());
    let call = Outgoing { method: &args.method, url: &url, headers: &headers, body };
    let answered = send(&agent, &call)?;
    out::line(&answered.body)?;
    if answered.status >= 400 {
        bail!("the call was answered with status {}", answered.status);
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

/// What signs the calls, where there is a key for it.
fn signer(
    agent: &ureq::Agent,
    url: &str,
    api_key: &str,
    profile: &Profile,
) -> anyhow::Result<Option<Signer>> {
    let set = std::env::var(SIGNING_KEY).ok().filter(|text| !text.is_empty()).map(Zeroizing::new);
    let Some(text) = set.as_ref().or(profile.signing_key.as_ref()) else { return Ok(None) };
    let key = ClientKey::from_text(text).context("JCAS_SIGNING_KEY cannot be used")?;
    let (company, audience) = match (&profile.company, &profile.audience) {
        (Some(company), Some(audience)) => (company.clone(), audience.clone()),
        _ => ask_who(agent, url, api_key)?,
    };
    Ok(Some(Signer { key, key_id: key_id(api_key)?, company, audience }))
}

/// A call on its way out.
pub(super) struct Outgoing<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// Where to.
    pub(super) url: &'a str,
    /// Names and values.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// JSON, if anything.
    pub(super) body: Option<&'a str>,
}

/// What came back.
pub(super) struct Answered {
    /// The status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: String,
    /// How long to wait before the call is made again, where the answer names seconds.
    pub(super) retry_after: Option<Duration>,
}

impl Answered {
    /// Reads an answer to its end.
    fn read(mut answer: ureq::http::Response<ureq::Body>) -> anyhow::Result<Self> {
        let status = answer.status().as_u16();
        let named = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok());
        let retry_after = named.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = answer.body_mut().read_to_string().context("the answer broke off")?;
        Ok(Self { status, body, retry_after })
    }
}

/// Sends a call.
pub(super) fn send(agent: &ureq::Agent, call: &Outgoing<'_>) -> anyhow::Result<Answered> {
    let url = call.url;
    let mut request = ureq::http::Request::builder().method(call.method).uri(url);
    for (name, value) in call.headers {
        request = request.header(*name, *value);
    }
    let answered = match call.body {
        Some(body) => {
            let request = request.header("Content-Type", "application/json");
            agent.run(request.body(body.to_owned()).context("the call is not valid")?)
        }
        None => agent.run(request.body(()).context("the call is not valid")?),
    };
    Answered::read(answered.with_context(|| format!("no answer from {url}; is jcas running?"))?)
}
