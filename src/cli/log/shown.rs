//! An event as people may see it: its header, and of its content what is no secret.
//!
//! Sealed values, wrapped keys, fingerprints, blind indexes and digests of secrets stay out, also
//! where they would tell a thief nothing: what is not printed is not copied into a ticket.

use serde::Serialize;
use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::events::event::{Event, SigningKey};
use crate::events::ids::UserId;
use crate::events::pair::Pair;
use crate::events::policy::Scope;
use crate::events::record::{Header, LogPosition, Subject};
use crate::events::stamp::Stamp;

/// An event.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Shown {
    /// The segment it lies in.
    pub(in crate::cli) segment: u32,
    /// Bytes from the segment's start.
    pub(in crate::cli) offset: u32,
    /// When it was recorded, RFC 3339.
    pub(in crate::cli) at: String,
    /// When it counts as made; left out for what has no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) effective_at: Option<String>,
    /// The revision it was recorded at.
    pub(in crate::cli) revision: String,
    /// Where it was recorded.
    pub(in crate::cli) origin: String,
    /// Its number there.
    pub(in crate::cli) sequence: u64,
    /// What happened.
    pub(in crate::cli) kind: String,
    /// Whom it is about.
    pub(in crate::cli) subject: String,
    /// The company that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) company: Option<String>,
    /// The API key it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) api_key: Option<String>,
    /// The content that is no secret; null where the body is blanked or of a newer version.
    pub(in crate::cli) content: Value,
}

impl Shown {
    /// What may be seen of an event.
    pub(in crate::cli) fn new(
        position: LogPosition,
        header: &Header,
        event: Option<&Event>,
    ) -> Self {
        let effective = header.effective;
        let kind = header.kind.name();
        Self {
            segment: position.segment(),
            offset: position.offset(),
            at: rfc3339(header.revision.unix_ms()),
            effective_at: effective.is_change().then(|| rfc3339(effective.unix_ms())),
            revision: header.revision.to_string(),
            origin: header.origin.to_string(),
            sequence: header.sequence,
            kind: kind.map_or_else(|| format!("kind {}", header.kind.0), str::to_owned),
            subject: subject(&header.subject),
            company: header.cause.company.map(|company| company.to_string()),
            api_key: header.cause.key.map(|key| key.to_string()),
            content: event.map_or(Value::Null, content),
        }
    }

    /// It in one line.
    pub(in crate::cli) fn line(&self) -> String {
        let Self { at, origin, sequence, kind, subject, .. } = self;
        let asked = self.company.as_deref().unwrap_or("-");
        let content = match &self.content {
            Value::Null => "(no content)".to_owned(),
            content => content.to_string(),
        };
        format!("{at}  {origin}:{sequence}  {asked}  {kind}  {subject}  {content}")
    }
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::User(user) => format!("user {user}"),
        Subject::Pair(pair) => format!("users {} {}", pair.users().0, pair.users().1),
        Subject::Company(company) => format!("company {company}"),
        Subject::Deployment => "deployment".to_owned(),
        Subject::Other(_) => "a newer version's".to_owned(),
    }
}

fn pair(pair: &Pair) -> [UserId; 2] {
    let (one, other) = pair.users();
    [one, other]
}

fn stamp(stamp: &Stamp) -> Value {
    json!({
        "effective_at": stamp.effective.is_change().then(|| rfc3339(stamp.effective.unix_ms())),
        "revision": stamp.revision.to_string(),
        "origin": stamp.origin.to_string(),
        "generation": stamp.generation,
    })
}

/// The content of an event that is no secret. Every kind is named, so that a new one is thought
/// about.
fn content(event: &Event) -> Value {
    match event {
        Event::UserRegistered(it) => json!({ "company": it.company, "country": it.country }),
        Event::CompanyJoined(company) | Event::CompanyLeft(company) => {
            json!({ "company": company })
        }
        Event::IdentityClaimed(it) => {
            json!({ "identity": it.index.kind, "verified": it.verified })
        }
        Event::IdentityReleased(index) => json!({ "identity": index.kind }),
        Event::PasswordSet(it) => match &it.upgrade {
            None => json!({}),
            Some(upgrade) => json!({ "upgrade_of": stamp(&upgrade.verified) }),
        },
        Event::LegacyHashAdded(it) => json!({ "slot": it.slot, "hash_profile": it.profile }),
        Event::ProfileUpdated(changes) => {
            let of = |removed: bool| -> Vec<_> {
                let these = changes.iter().filter(|it| it.value.is_none() == removed);
                these.map(|it| it.field.as_str()).collect()
            };
            json!({ "set": of(false), "removed": of(true) })
        }
        Event::UserDisabled(()) | Event::UserErased(()) | Event::ErasureConfirmed(()) => json!({}),
        Event::UserEnabled(lifts) => {
            let lifted = lifts.iter().map(|(origin, revision)| {
                json!({ "origin": origin.to_string(), "up_to": revision.to_string() })
            });
            json!({ "lifts": lifted.collect::<Vec<_>>() })
        }
        Event::UserKeyCreated(it) => json!({ "key": it.key, "branch_key": it.branch }),
        Event::UsersLinked(it) => json!({ "users": pair(&it.pair), "automatic": it.automatic }),
        Event::UsersUnlinked(it) => {
            let floors = it.floors.iter();
            let floors = floors.map(|(user, at)| json!({ "user": user, "below": stamp(at) }));
            let pairs: Vec<_> = it.pairs.iter().map(pair).collect();
            json!({ "pairs": pairs, "floors": floors.collect::<Vec<_>>() })
        }
        Event::LinkDeclined(it) => json!({ "users": pair(it) }),
        _ => registry_content(event),
    }
}

/// The same for companies and the deployment.
fn registry_content(event: &Event) -> Value {
    match event {
        Event::CompanyRegistered(it) => json!({ "countries": it.countries, "signing": it.signing }),
        Event::PolicySet(it) => json!({ "policies": it.policies }),
        Event::ApiKeyIssued(it) => json!({
            "key": it.key,
            "scopes": it.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
            "expires_at": it.expires_unix_ms.map(rfc3339),
            "signing": it.signing.as_ref().map(|signing| match signing {
                SigningKey::Hs256 { .. } => "HS256",
                SigningKey::EdDsa(_) => "EdDSA",
            }),
        }),
        Event::ApiKeyRevoked(it) => json!({ "key": it.key }),
        Event::HashProfileDeclared(it) => {
            json!({ "slot": it.slot, "name": it.name, "hash_profile": it.id })
        }
        Event::OriginOpened(it) => json!({
            "previous": it.previous.as_ref().map(|life| {
                json!({ "origin": life.origin.to_string(), "sequence": life.sequence })
            }),
            "verifying_key": hex::encode(it.verifying_key),
        }),
        Event::BranchKeyCreated(it) => {
            let regions: Vec<_> = it.wrapped.iter().map(|(region, _)| region).collect();
            json!({ "key": it.key, "regions": regions })
        }
        Event::BranchKeyWrapped(it) => {
            json!({ "key": it.key, "region": it.region, "opens": !it.wrapped.is_empty() })
        }
        Event::OriginDistrusted(it) => {
            json!({
                "origin": it.origin.to_string(),
                "from_sequence": it.from_sequence,
                "and_later_lives": it.and_later_lives,
            })
        }
        Event::UserRegistered(_)
        | Event::CompanyJoined(_)
        | Event::CompanyLeft(_)
        | Event::IdentityClaimed(_)
        | Event::IdentityReleased(_)
        | Event::PasswordSet(_)
        | Event::LegacyHashAdded(_)
        | Event::ProfileUpdated(_)
        | Event::UserDisabled(())
        | Event::UserEnabled(_)
        | Event::UserKeyCreated(_)
        | Event::UserErased(())
        | Event::ErasureConfirmed(())
        | Event::UsersLinked(_)
        | Event::UsersUnlinked(_)
        | Event::LinkDeclined(_) => Value::Null,
    }
}
