//! A user's events, redacted: what happened, when, where and who asked.

use serde::Serialize;

use crate::actors::shard_reads::Recorded;
use crate::events::event::Event;
use crate::events::ids::UserId;
use crate::events::policy::{Policy, Scope};
use crate::events::record::LogPosition;

use super::Accounts;
use super::caller::Caller;
use super::error::AccountError;
use super::view::rfc3339;

/// One event of a user.
#[derive(Debug, Serialize)]
pub struct HistoryEntry {
    /// What happened.
    pub kind: String,
    /// When it was recorded, RFC 3339.
    pub at: String,
    /// When it counts as made; left out for what has no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_at: Option<String>,
    /// The revision it was recorded at.
    pub revision: String,
    /// Where it was recorded.
    pub origin: String,
    /// Its number there.
    pub sequence: u64,
    /// The company that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    /// What it was about, without contents: field names, the slot of a hash, the kind of an
    /// identity.
    pub about: Vec<String>,
}

impl Accounts {
    /// A page of a user's events, oldest first, with the cursor after each.
    pub async fn history(
        &self,
        caller: &Caller,
        user: UserId,
        after: LogPosition,
        limit: usize,
    ) -> Result<Vec<(LogPosition, HistoryEntry)>, AccountError> {
        caller.require(Scope::Read)?;
        let loaded = self.load(user).await?;
        caller.require_policy(Policy::Read, &loaded)?;
        let recorded = self.parts.house.read_history(user, after, limit).await?;
        Ok(recorded.into_iter().map(|it| (it.position, entry(&it))).collect())
    }
}

pub(super) fn entry(recorded: &Recorded) -> HistoryEntry {
    let header = &recorded.header;
    let kind = header.kind.name().map_or_else(|| format!("kind {}", header.kind.0), str::to_owned);
    let effective = header.effective.is_change().then(|| rfc3339(header.effective.unix_ms()));
    HistoryEntry {
        kind,
        at: rfc3339(header.revision.unix_ms()),
        effective_at: effective,
        revision: header.revision.to_string(),
        origin: header.origin.to_string(),
        sequence: header.sequence,
        company: header.cause.company.map(|company| company.to_string()),
        about: recorded.event.as_ref().map(about).unwrap_or_default(),
    }
}

fn about(event: &Event) -> Vec<String> {
    match event {
        Event::UserRegistered(registered) => vec![registered.country.to_string()],
        Event::CompanyJoined(company) | Event::CompanyLeft(company) => vec![company.to_string()],
        Event::IdentityClaimed(claimed) => {
            let verified = if claimed.verified { "verified" } else { "unverified" };
            vec![claimed.index.kind.as_str().to_owned(), verified.to_owned()]
        }
        Event::IdentityReleased(index) => vec![index.kind.as_str().to_owned()],
        Event::PasswordSet(set) if set.upgrade.is_some() => vec!["upgrade".to_owned()],
        Event::LegacyHashAdded(added) => vec![added.slot.to_string()],
        Event::ProfileUpdated(changes) => {
            changes.iter().map(|change| change.field.to_string()).collect()
        }
        _ => Vec::new(),
    }
}
