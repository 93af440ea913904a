//! `jcas log find`: who claimed an identity.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use crate::accounts::view::rfc3339;
use crate::app::identities;
use crate::cli::out::{self, Lines};
use crate::cli::progress::Meter;
use crate::events::codec;
use crate::events::event::Event;
use crate::events::evolve::evolve;
use crate::events::ids::{BlindIndex, Country, IdentityKind, UserId};
use crate::events::record::{Fact, LogPosition, Register};
use crate::events::stamp::Revision;
use crate::events::state::{Claims, UserState};
use crate::files::{Disk, Files};
use crate::log::LogReader;

/// Say which users ever claimed an e-mail address or a phone number.
#[derive(Debug, Args)]
#[command(after_help = "It needs the node's data folder: the deployment's index key is in it. The
log to look in may be an export. Users who were erased are not found: what found them is blanked.
A dash takes the address or number from standard input, so that it is not among the machine's
processes.

Examples:
  jcas log find --email ada@example.com
  jcas log find --phone '0803 123 4567' --country NG
  jcas log find backup.jcas --email - < address.txt")]
#[command(group = clap::ArgGroup::new("identity").required(true).args(["email", "phone"]))]
pub(super) struct FindArgs {
    /// A log's folder, a segment, an export or a data folder; without it, the configured node's.
    path: Option<PathBuf>,
    /// The e-mail address.
    #[arg(long)]
    email: Option<String>,
    /// The phone number, international or as it is dialled in --country.
    #[arg(long)]
    phone: Option<String>,
    /// The country that a national number is read in.
    #[arg(long, value_name = "CC")]
    country: Option<Country>,
    /// Print JSON, one user a line.
    #[arg(long)]
    json: bool,
}

/// What is known of a user with the identity.
struct Claimed {
    first: Revision,
    /// What its claims and releases fold to.
    state: UserState,
    index: BlindIndex,
}

/// Prints them.
pub(super) fn run(settings: Option<&Path>, args: &FindArgs) -> anyhow::Result<()> {
    let config = super::load(settings)?;
    let (kind, typed) = match (&args.email, &args.phone) {
        (Some(email), None) => (IdentityKind::Email, email),
        (None, Some(phone)) => (IdentityKind::Phone, phone),
        _ => bail!("name either an e-mail address or a phone number"),
    };
    let typed = if typed == "-" { read()? } else { Zeroizing::new(typed.clone()) };
    let index = identities::blind_index(&config, kind, typed.trim(), args.country)?;
    let path = super::place(settings, args.path.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &path)?;
    let found = claimants(&reader, index)?;
    let mut lines = Lines::default();
    for (user, claimed) in &found {
        let line = if args.json { in_json(*user, claimed) } else { in_words(*user, claimed) };
        if !lines.line(&line)? {
            return Ok(());
        }
    }
    lines.finish()?;
    if found.is_empty() {
        out::note("no user claimed it in this log");
    }
    Ok(())
}

fn read() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

fn claimants(reader: &LogReader, index: BlindIndex) -> anyhow::Result<BTreeMap<UserId, Claimed>> {
    let mut found: BTreeMap<UserId, Claimed> = BTreeMap::new();
    let mut meter = Meter::events("reading");
    let mut events = 0;
    for stored in reader.scan(LogPosition::START, None) {
        let stored = stored?;
        events += 1;
        meter.set(events);
        let position = stored.position;
        let unreadable = || format!("cannot read the record at {position}");
        let header = codec::decode_header(&stored.record.header).with_context(unreadable)?;
        let crate::events::record::Subject::User(user) = header.subject else { continue };
        let Some(body) = stored.record.body.filter(|_| header.register == Register::Identity)
        else {
            continue;
        };
        let at = header.revision;
        let event = codec::decode_body(&header, &body).with_context(unreadable)?;
        let is_meant = match &event {
            Some(Event::IdentityClaimed(claim)) => claim.index == index,
            Some(Event::IdentityReleased(released)) => *released == index,
            _ => false,
        };
        if is_meant {
            let fresh = || Claimed { first: at, state: UserState::default(), index };
            let claimed = found.entry(user).or_insert_with(fresh);
            claimed.first = claimed.first.min(at);
            evolve(&mut claimed.state, user, &Fact::new(&header, event));
        }
    }
    meter.finish();
    Ok(found)
}

impl Claimed {
    fn claims(&self) -> Option<&Claims> {
        self.state.claims.get(&self.index)
    }

    /// Whether it is the user's, and verified.
    fn is_verified(&self) -> bool {
        self.claims().is_some_and(Claims::is_verified)
    }

    /// When it was released, if no claim stands.
    fn ended(&self) -> Option<String> {
        let claims = self.claims().filter(|claims| !claims.is_live())?;
        claims.released.map(|mark| rfc3339(mark.stamp.revision.unix_ms()))
    }
}

fn in_json(user: UserId, claimed: &Claimed) -> String {
    let first = rfc3339(claimed.first.unix_ms());
    json!({
        "user": user, "claimed_at": first, "verified": claimed.is_verified(),
        "released_at": claimed.ended(),
    })
    .to_string()
}

fn in_words(user: UserId, claimed: &Claimed) -> String {
    let first = rfc3339(claimed.first.unix_ms());
    let verified = if claimed.is_verified() { ", verified" } else { "" };
    let ended = claimed.ended().map_or_else(String::new, |at| format!(", released {at}"));
    format!("{user}  claimed {first}{verified}{ended}")
}
