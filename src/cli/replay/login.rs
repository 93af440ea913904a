//! Which credentials would have counted for a user at some time.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::cli::moment::Moment;
use crate::cli::out;
use crate::cli::progress::Meter;
use crate::cli::screen::{Line, Screen, Style};
use crate::events::ids::{InvalidName, Slot, UserId};
use crate::replay::history::History;
use crate::replay::logins::{Login, Tried, Verdict, login};

use super::summary::kind_name;

/// What a log says nothing of.
const NOT_IN_LOGS: &str = "attempts and limits are not in the log: a login may also have failed \
                           for a wrong password, for too many attempts, for a key's scopes, for a \
                           change its node had not heard of yet, because trying all hashes would \
                           have taken too long, or for a node that was down";

/// A company and a country, as in `shop/NG`.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtCompany(Slot);

/// A text that names neither.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCompany {
    /// It is not written as one.
    #[error("a company and a country are written as in shop/NG")]
    Shape,
    /// One of them is no name.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl FromStr for AtCompany {
    type Err = NoCompany;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (company, country) = text.split_once('/').ok_or(NoCompany::Shape)?;
        Ok(Self(Slot { company: company.parse()?, country: country.parse()? }))
    }
}

/// Prints what a login would have met.
pub(super) fn run(
    history: &History,
    user: UserId,
    AtCompany(slot): AtCompany,
    at: Moment,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut meter = Meter::events("replaying");
    let login = login(&history.until(Some(at.revision())), user, slot, |it| meter.set(it));
    meter.finish();
    let login = login?;
    if as_json {
        let value = in_json(&login, user, slot, at);
        return out::line(&serde_json::to_string_pretty(&value)?);
    }
    print(&login, user, slot, at)
}

fn in_json(login: &Login, user: UserId, slot: Slot, at: Moment) -> Value {
    let credential = |it: &Tried| {
        let (counts, event) = match it.verdict {
            Verdict::Counts => (true, None),
            Verdict::Replaced(event) | Verdict::Unlinked(event) => (false, event),
            Verdict::Shadowed(event) => (false, Some(event)),
            Verdict::Late | Verdict::Distrusted | Verdict::Erased | Verdict::NoBody => {
                (false, None)
            }
        };
        json!({
            "event": format!("{:?}", it.header.reference()),
            "at": rfc3339(it.header.revision.unix_ms()),
            "kind": kind_name(it.header.kind),
            "company": it.header.cause.company,
            "user": it.user,
            "slot": it.slot,
            "is_password": it.is_password,
            "counts": counts,
            "why": why(it.verdict),
            "shadowed_by": event.map(|event| format!("{event:?}")),
        })
    };
    let disabled = login.disabled_by.iter().map(|event| format!("{event:?}"));
    json!({
        "user": user,
        "as": slot.to_string(),
        "until": at.to_string(),
        "known": login.is_known,
        "erased": login.is_erased,
        "users": login.users,
        "customer": login.is_customer,
        "disabled_by": disabled.collect::<Vec<_>>(),
        "credentials": login.credentials.iter().map(credential).collect::<Vec<_>>(),
        "note": NOT_IN_LOGS,
    })
}

fn why(verdict: Verdict) -> String {
    let by = |event: Option<_>| {
        event.map_or_else(
            || "an event that is not here".to_owned(),
            |it: crate::events::stamp::EventRef| format!("{it:?}"),
        )
    };
    match verdict {
        Verdict::Counts => "counts".to_owned(),
        Verdict::Late => "recorded by then, but came to this log later".to_owned(),
        Verdict::Replaced(event) => format!("replaced by {}", by(event)),
        Verdict::Shadowed(event) => format!("shadowed by the password that {event:?} set"),
        Verdict::Unlinked(event) => {
            format!("out of use since the account was taken apart by {}", by(event))
        }
        Verdict::Distrusted => "of a life that was cut off, or rests on one".to_owned(),
        Verdict::Erased => "its user was erased".to_owned(),
        Verdict::NoBody => "its body is not in this log".to_owned(),
    }
}

fn print(login: &Login, user: UserId, slot: Slot, at: Moment) -> anyhow::Result<()> {
    let mut screen = Screen::default();
    screen.name("user", &user.to_string())?;
    let others = login.users.iter().filter(|it| **it != user);
    for other in others {
        screen.name("linked", &other.to_string())?;
    }
    screen.name("as", &format!("{slot} at {at}"))?;
    let state = match (login.is_known, login.is_erased, login.disabled_by.as_slice()) {
        (false, ..) => "nothing is known of this user".to_owned(),
        (_, true, _) => "erased".to_owned(),
        (_, _, []) => "active".to_owned(),
        (_, _, by) => {
            let by: Vec<_> = by.iter().map(|event| format!("{event:?}")).collect();
            format!("disabled by {}: every login was refused", by.join(", "))
        }
    };
    screen.name("status", &state)?;
    let word = if login.is_customer { "yes" } else { "no" };
    screen.name("customer", &format!("{word}, of {}", slot.company))?;
    for it in &login.credentials {
        let place = it.slot.map_or_else(|| "secret".to_owned(), |slot| format!("legacy {slot}"));
        let what = if it.is_password { "password" } else { "import" };
        let style = match it.verdict {
            Verdict::Counts => Style::Good,
            _ => Style::Bad,
        };
        let line = Line::default()
            .and(Style::Faint, format!("{}  ", rfc3339(it.header.revision.unix_ms())))
            .and(Style::Plain, format!("{:?}  {place}, {what}: ", it.header.reference()))
            .and(style, why(it.verdict));
        screen.print(&line)?;
    }
    if login.credentials.is_empty() {
        screen.say("no credential was ever written")?;
    }
    screen.print(&Line::default().and(Style::Faint, NOT_IN_LOGS))?;
    screen.finish()
}
