//! `jcas key issue`: an API key and what its calls are signed with.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::events::policy::Scope;

use super::client::Profile;
use super::operator::{Operator, parse_duration_s};
use super::out;

/// What is asked of a new API key.
#[derive(Debug, Args)]
pub(super) struct IssueArgs {
    /// The company.
    id: String,
    /// What calls it may make: login, read, write, sync, link, erase.
    #[arg(long, value_delimiter = ',', required = true)]
    scopes: Vec<Scope>,
    /// How long it holds: 12h, 90d. Without it, until it is revoked.
    #[arg(long, value_parser = parse_duration_s)]
    expires: Option<u64>,
    /// How its calls are signed. Left out: hs256 where the company must sign, else none.
    #[arg(long)]
    signing: Option<SigningArg>,
    /// With eddsa: a file with the company's public key as JWK. The company keeps the private one.
    #[arg(long, value_name = "FILE", required_if_eq("signing", "eddsa"))]
    public_jwk: Option<PathBuf>,
    /// Write the key into a new profile for `jcas call` (mode 0600) instead of printing it.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SigningArg {
    /// Not at all: for companies whose calls need not be signed.
    None,
    /// HMAC-SHA-256 with a secret that is printed beside the key.
    Hs256,
    /// Ed25519 with the company's own key.
    Eddsa,
}

/// Issues a key and prints it, once.
pub(super) fn issue(operator: &Operator, args: &IssueArgs) -> anyhow::Result<()> {
    let scopes: Vec<_> = args.scopes.iter().map(|scope| scope.as_str()).collect();
    let mut body = json!({ "scopes": scopes });
    let members = body.as_object_mut().context("an object")?;
    if let Some(expires) = args.expires {
        members.insert("expires_in_s".to_owned(), expires.into());
    }
    if let Some(signing) = args.signing {
        let word = signing.to_possible_value().context("a word")?;
        members.insert("signing".to_owned(), word.get_name().into());
    }
    if let Some(path) = &args.public_jwk {
        members.insert("public_jwk".to_owned(), read_jwk(path)?);
    }
    // A file that cannot be made is better known before there is a key nobody has.
    if let Some(path) = args.profile.as_deref().filter(|path| path.exists()) {
        bail!("{} is there already; name another file", path.display());
    }
    let mut issued = operator.call("POST", &format!("companies/{}/keys", args.id), Some(&body))?;
    if let Some(path) = &args.profile {
        let taken = profile_of(&args.id, &mut issued);
        taken.write_new(path)?;
        out::note(&format!("the key is in {} and nowhere else", path.display()));
    } else {
        out::note("the key is shown this once: JCAS keeps a digest of it only");
    }
    out::line(&serde_json::to_string_pretty(&issued)?)
}

fn read_jwk(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    // Without serde's words, which quote what is there: it may be the private half.
    let jwk: Option<Value> = serde_json::from_str(&text).ok();
    jwk.with_context(|| format!("{} is no JSON", path.display()))
}

/// Moves the secrets of an answer into a profile.
fn profile_of(company: &str, issued: &mut Value) -> Profile {
    let mut take = |name: &str| match issued.as_object_mut()?.remove(name)? {
        Value::String(text) => Some(Zeroizing::new(text)),
        _ => None,
    };
    let (api_key, signing_key) = (take("api_key"), take("signing_secret"));
    let audience = issued.get("audience").and_then(Value::as_str).map(str::to_owned);
    let company = Some(company.to_owned());
    Profile { url: None, company, audience, api_key, signing_key }
}
