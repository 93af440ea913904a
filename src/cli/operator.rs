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
use crate::events::policy::{Policies, Reach, Signing};

use super::client::{self, Answered, Outgoing};
use super::key::{self, IssueArgs};
use super::out;
use super::report::{self, ReportArgs};

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
    /// Show how far a company's customers have moved over: by country, which schemes their hashes
    /// are of, how many have a secret, how many never came.
    #[command(after_help = "\
Examples:
  jcas company report shop
  jcas company report shop --json | jq '.report.countries.NG.schemes'

With a secret are those who logged in or whose password was set; who never came still needs the hash
you brought. All users of the node are looked at, a few hundred a call.")]
    Report(ReportArgs),
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
    /// Make an API key and print it, once, with the secret that its calls are signed with.
    #[command(after_help = "Examples:
  jcas key issue shop --scopes login,read,write --expires 90d
  jcas key issue shop --scopes login --signing eddsa --public-jwk shop.jwk")]
    Issue(IssueArgs),
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
    /// Find out how a hash was made whose password you know: prints every profile that verifies it,
    /// best first. The password, and a pepper where there is one, are lines of standard input, so
    /// that no list of processes shows them.
    #[command(after_help = "Examples:
  echo 'correct horse' | jcas hash-profile probe 1602c7c51922e88d5876d58985ddb39f:aB
  echo 'correct horse' | jcas hash-profile probe 1602c7c51922e88d5876d58985ddb39f --salt aB
  cat password-and-cookie-key | jcas hash-profile probe 65f090dd16df27ccb5ee25cb84b96595 --pepper")]
    Probe {
        /// The hash, as it stands in its column.
        hash: String,
        /// Its salt, where that has a column of its own.
        #[arg(long)]
        salt: Option<String>,
        /// The second line of standard input is the pepper: a secret of the shop's configuration
        /// (the cookie key of PrestaShop, the signer key of Firebase).
        #[arg(long)]
        pepper: bool,
    },
}

/// `90d`, `12h`, `30m` or `45s`, in seconds.
pub(super) fn parse_duration_s(text: &str) -> Result<u64, String> {
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
pub(super) struct Operator {
    url: String,
    token: String,
}

impl Operator {
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let folder = app::data_folder(config);
        let token = operator_token(&folder)
            .with_context(|| format!("cannot read the operator token in {}", folder.display()))?;
        let url = format!("http://{}", config.http.operator_listen);
        Ok(Self { url, token: token.expose().to_owned() })
    }

    /// Calls and returns what was answered.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let bearer = format!("Bearer {}", self.token);
        let url = format!("{}/operator/{path}", self.url);
        let body = body.map(Value::to_string);
        let headers = [("Authorization", bearer.as_str())];
        let call = Outgoing { method, url: &url, headers: &headers, body: body.as_deref() };
        let Answered { status, body, .. } = client::send(&client::agent(None)?, &call)?;
        let answer: Value = serde_json::from_str(&body).context("the answer is not JSON")?;
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
        CompanyCommand::Report(args) => report::run(&operator, &args),
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
pub fn keys(config: &Config, args: KeyArgs) -> anyhow::Result<()> {
    let operator = Operator::of(config)?;
    match args.command {
        KeyCommand::Issue(args) => key::issue(&operator, &args),
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
    match args.command {
        HashProfileCommand::Set { id, country, name, file } => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let profile: Value = serde_json::from_str(&text)
                .with_context(|| format!("{} is no JSON", file.display()))?;
            let path = format!("companies/{id}/hash-profiles/{country}/{name}");
            print(&Operator::of(config)?.call("PUT", &path, Some(&profile))?)
        }
        HashProfileCommand::Probe { hash, salt, pepper } => {
            probe(&Operator::of(config)?, &hash, salt.as_deref(), pepper)
        }
    }
}

fn probe(
    operator: &Operator,
    hash: &str,
    salt: Option<&str>,
    peppered: bool,
) -> anyhow::Result<()> {
    let mut lines = std::io::stdin().lines();
    let mut next = |what| {
        let line =
            lines.next().with_context(|| format!("standard input has no line with the {what}"));
        line?.context("cannot read standard input")
    };
    let password = next("password")?;
    let pepper = if peppered { Some(next("pepper")?) } else { None };
    let mut specimen = json!({ "hash": hash, "password": password });
    for (name, value) in [("salt", salt), ("pepper", pepper.as_deref())] {
        if let (Some(value), Some(members)) = (value, specimen.as_object_mut()) {
            members.insert(name.to_owned(), value.into());
        }
    }
    let found = operator.call("POST", "hash-profiles/probe", Some(&specimen))?;
    print(&found)?;
    let profiles = found.get("profiles").and_then(Value::as_array).map_or(0, Vec::len);
    match profiles {
        0 => bail!("no profile verifies this hash with this password"),
        1 => {}
        _ => out::note("several compute the same: take the one that names your shop"),
    }
    Ok(())
}
