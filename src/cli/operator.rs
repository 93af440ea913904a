//! `jcas company`, `jcas key` and `jcas hash-profile`: through the operator listener of a running
//! node.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::app;
use crate::config::Config;
use crate::deployment::token::operator_token;
use crate::events::ids::Country;
use crate::events::policy::{Policies, Reach, Scope, Signing};

use super::{client, out};

/// Companies.
#[derive(Debug, Args)]
pub struct CompanyArgs {
    #[command(subcommand)]
    command: CompanyCommand,
}

#[derive(Debug, Subcommand)]
enum CompanyCommand {
    /// Make a company, or change its countries or signing.
    #[command(after_help = "Example: jcas company add shop --country NG,KE --preset trusted")]
    Add {
        /// Its id: a-z, 0-9, - and _.
        id: String,
        /// Where it has customers: ISO 3166-1 alpha-2, separated by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        country: Vec<Country>,
        /// Whether its calls must be signed: required or optional.
        #[arg(long, default_value = "required")]
        signing: Signing,
        /// Give it all policies, as between companies of one group.
        #[arg(long, value_parser = ["trusted"])]
        preset: Option<String>,
    },
    /// Show all companies.
    #[command(after_help = "Example: jcas company list")]
    List,
    /// Show one company: its countries, policies, keys and hash profiles.
    #[command(after_help = "Example: jcas company show shop")]
    Show {
        /// Its id.
        id: String,
    },
    /// Set what a company may do with users. What is not named stays as it is.
    #[command(after_help = "\
Examples:
  jcas company policy shop                     show what it may do
  jcas company policy shop --profile all --verifies true
  jcas company policy shop --preset trusted --erase own")]
    Policy(PolicyArgs),
}

#[derive(Debug, Args)]
struct PolicyArgs {
    /// The company.
    id: String,
    /// Give it all policies, as between companies of one group.
    #[arg(long, value_parser = ["trusted"])]
    preset: Option<String>,
    /// See users: off, own or all.
    #[arg(long)]
    read: Option<Reach>,
    /// Set passwords without the current one.
    #[arg(long)]
    password: Option<Reach>,
    /// Write profile fields.
    #[arg(long)]
    profile: Option<Reach>,
    /// Claim and release identities.
    #[arg(long)]
    identity: Option<Reach>,
    /// Disable and enable.
    #[arg(long)]
    status: Option<Reach>,
    /// Link and unlink.
    #[arg(long)]
    link: Option<Reach>,
    /// Erase.
    #[arg(long)]
    erase: Option<Reach>,
    /// Whether its word that an identity is verified counts.
    #[arg(long)]
    verifies: Option<bool>,
}

/// API keys.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make an API key and print it, once.
    #[command(after_help = "Example: jcas key issue shop --scopes login,read,write --expires 90d")]
    Issue {
        /// The company.
        id: String,
        /// What calls it may make: login, read, write, sync, link, erase.
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// How long it holds: 12h, 90d. Without it, until it is revoked.
        #[arg(long, value_parser = parse_duration_s)]
        expires: Option<u64>,
    },
    /// Withdraw an API key. Calls with it are refused from then on.
    #[command(after_help = "Example: jcas key revoke shop 0123456789abcdef")]
    Revoke {
        /// The company.
        id: String,
        /// The key's id: what stands between the first two underscores.
        key: String,
    },
    /// Show a company's keys, without their secrets.
    #[command(after_help = "Example: jcas key list shop")]
    List {
        /// The company.
        id: String,
    },
}

/// Hash profiles.
#[derive(Debug, Args)]
pub struct HashProfileArgs {
    #[command(subcommand)]
    command: HashProfileCommand,
}

#[derive(Debug, Subcommand)]
enum HashProfileCommand {
    /// Declare how a company computed its hashes in a country.
    #[command(after_help = "Example: jcas hash-profile set shop NG default --file profile.json")]
    Set {
        /// The company.
        id: String,
        /// The country.
        country: Country,
        /// The profile's name; `default` serves hashes that name none.
        name: String,
        /// A file with the profile as JSON.
        #[arg(long)]
        file: PathBuf,
    },
}

/// `90d`, `12h`, `30m` or `45s`, in seconds.
fn parse_duration_s(text: &str) -> Result<u64, String> {
    let wrong = || "write a number and s, m, h or d: 90d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    count.checked_mul(factor).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

/// The way to a running node's operator listener.
struct Operator {
    url: String,
    token: String,
}

impl Operator {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let folder = app::data_folder(config);
        let token = operator_token(&folder)
            .with_context(|| format!("cannot read the operator token in {}", folder.display()))?;
        let url = format!("http://{}", config.http.operator_listen);
        Ok(Self { url, token: token.expose().to_owned() })
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let bearer = format!("Bearer {}", self.token);
        let url = format!("{}/operator/{path}", self.url);
        let body = body.map(Value::to_string);
        let header = ("Authorization", bearer.as_str());
        let (status, answer) = client::send(method, &url, header, body.as_deref())?;
        let answer: Value = serde_json::from_str(&answer).context("the answer is not JSON")?;
        if status >= 400 {
            let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
            let fields = answer.get("errors").map(Value::to_string).unwrap_or_default();
            bail!("{detail} {fields}");
        }
        Ok(answer)
    }
}

fn print(value: &Value) -> anyhow::Result<()> {
    out::line(&serde_json::to_string_pretty(value)?)
}

/// `jcas company ..`
pub fn company(config: &Config, args: CompanyArgs) -> anyhow::Result<()> {
    let operator = Operator::of(config)?;
    match args.command {
        CompanyCommand::Add { id, country, signing, preset } => {
            let body = json!({ "countries": country, "signing": signing });
            operator.call("PUT", &format!("companies/{id}"), Some(&body))?;
            if preset.is_some() {
                let body = json!(Policies::TRUSTED);
                operator.call("PUT", &format!("companies/{id}/policies"), Some(&body))?;
            }
            print(&operator.call("GET", &format!("companies/{id}"), None)?)
        }
        CompanyCommand::List => print(&operator.call("GET", "companies", None)?),
        CompanyCommand::Show { id } => {
            print(&operator.call("GET", &format!("companies/{id}"), None)?)
        }
        CompanyCommand::Policy(policy) => set_policy(&operator, &policy),
    }
}

fn set_policy(operator: &Operator, args: &PolicyArgs) -> anyhow::Result<()> {
    let company = operator.call("GET", &format!("companies/{}", args.id), None)?;
    let standing = company.get("policies").cloned().unwrap_or_default();
    let mut policies: Policies = serde_json::from_value(standing)?;
    if args.preset.is_some() {
        policies = Policies::TRUSTED;
    }
    for (set, policy) in [
        (args.read, &mut policies.read),
        (args.password, &mut policies.password),
        (args.profile, &mut policies.profile),
        (args.identity, &mut policies.identity),
        (args.status, &mut policies.status),
        (args.link, &mut policies.link),
        (args.erase, &mut policies.erase),
    ] {
        *policy = set.unwrap_or(*policy);
    }
    policies.verifies = args.verifies.unwrap_or(policies.verifies);
    let path = format!("companies/{}/policies", args.id);
    print(&operator.call("PUT", &path, Some(&json!(policies)))?)
}

/// `jcas key ..`
pub fn key(config: &Config, args: KeyArgs) -> anyhow::Result<()> {
    let operator = Operator::of(config)?;
    match args.command {
        KeyCommand::Issue { id, scopes, expires } => {
            let scopes: Vec<_> = scopes.into_iter().map(Scope::as_str).collect();
            let mut body = json!({ "scopes": scopes });
            if let (Some(expires), Some(body)) = (expires, body.as_object_mut()) {
                body.insert("expires_in_s".to_owned(), expires.into());
            }
            print(&operator.call("POST", &format!("companies/{id}/keys"), Some(&body))?)?;
            out::note("the key is shown this once: JCAS keeps a digest of it only");
            Ok(())
        }
        KeyCommand::Revoke { id, key } => {
            print(&operator.call("DELETE", &format!("companies/{id}/keys/{key}"), None)?)
        }
        KeyCommand::List { id } => {
            let company = operator.call("GET", &format!("companies/{id}"), None)?;
            print(company.get("keys").unwrap_or(&Value::Null))
        }
    }
}

/// `jcas hash-profile ..`
pub fn hash_profile(config: &Config, args: HashProfileArgs) -> anyhow::Result<()> {
    let HashProfileCommand::Set { id, country, name, file } = args.command;
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let profile: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let path = format!("companies/{id}/hash-profiles/{country}/{name}");
    print(&Operator::of(config)?.call("PUT", &path, Some(&profile))?)
}
