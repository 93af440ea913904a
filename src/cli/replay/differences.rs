//! In what the state differs between two times, or between two logs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::cli::moment::Moment;
use crate::cli::out;
use crate::cli::progress::Meter;
use crate::cli::screen::{Line, Screen, Style};
use crate::events::ids::{Digest, UserId};
use crate::events::record::Header;
use crate::events::stamp::EventRef;
use crate::replay::coverage::Gap;
use crate::replay::differences::{
    PartDifference, UserDifference, forks, headers, of_registries, of_user, of_users, only_in,
};
use crate::replay::fold::{Folded, NobodyLooks, fold};
use crate::replay::held::Held;
use crate::replay::history::History;
use crate::replay::timeline::timeline;

use super::summary::{gap_json, gap_text, kind_name};
use super::timeline::held_json;

/// What was found, and by whom it was written.
#[derive(Default)]
struct Found {
    users: Vec<UserDifference>,
    registry: Vec<String>,
    events: BTreeMap<Digest, Header>,
}

impl Found {
    /// Looks up which events wrote what differs.
    fn named(mut self, histories: &[&History]) -> anyhow::Result<Self> {
        let parts = self.users.iter().flat_map(|user| &user.parts);
        let held = parts.flat_map(|part| part.one.iter().chain(&part.other));
        let wanted: BTreeSet<Digest> =
            held.filter_map(|held| held.mark.map(|mark| mark.digest)).collect();
        for history in histories {
            headers(history, &wanted, &mut self.events)?;
        }
        Ok(self)
    }

    fn header(&self, held: &Held) -> Option<&Header> {
        self.events.get(&held.mark?.digest)
    }

    fn held(&self, held: &Held) -> Value {
        let mut value = held_json(held);
        if let (Some(object), Some(header)) = (value.as_object_mut(), self.header(held)) {
            object.insert("event".to_owned(), json!(format!("{:?}", header.reference())));
            object.insert("kind".to_owned(), json!(kind_name(header.kind)));
            object.insert("company".to_owned(), json!(header.cause.company));
        }
        value
    }

    fn users(&self) -> Value {
        let all = |held: &[Held]| held.iter().map(|it| self.held(it)).collect::<Vec<_>>();
        let part = |it: &PartDifference| {
            let (first, second) = (all(&it.one), all(&it.other));
            json!({ "part": it.part, "first": first, "second": second })
        };
        let user = |it: &UserDifference| {
            let parts: Vec<_> = it.parts.iter().map(part).collect();
            json!({ "user": it.user, "parts": parts })
        };
        self.users.iter().map(user).collect()
    }

    fn print(&self, screen: &mut Screen) -> anyhow::Result<bool> {
        for text in &self.registry {
            screen.print(&Line::default().and(Style::Strong, text.clone()))?;
        }
        for UserDifference { user, parts } in &self.users {
            screen.print(&Line::default().and(Style::Strong, format!("user {user}")))?;
            for PartDifference { part, one, other } in parts {
                let signed = one.iter().map(|held| ('-', Style::Bad, held));
                for (sign, style, held) in
                    signed.chain(other.iter().map(|it| ('+', Style::Good, it)))
                {
                    let line = Line::default()
                        .and(style, format!("{sign} {part}: {}", held.is))
                        .and(Style::Faint, self.by(held));
                    if !screen.print(&line)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Who wrote it, when and where.
    fn by(&self, held: &Held) -> String {
        let Some(header) = self.header(held) else { return String::new() };
        let by = header.cause.company.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let at = rfc3339(header.revision.unix_ms());
        format!("  {:?} {at} {by} {}", header.reference(), kind_name(header.kind))
    }
}

/// Prints in what the state differs between two times.
pub(super) fn between(
    history: &History,
    user: Option<UserId>,
    (from, to): (Moment, Moment),
    as_json: bool,
) -> anyhow::Result<()> {
    let (one, other) = (history.until(Some(from.revision())), history.until(Some(to.revision())));
    let mut meter = Meter::events("replaying");
    let found = if let Some(user) = user {
        let before = timeline(&one, user, |events| meter.set(events))?.state;
        let after = timeline(&other, user, |events| meter.set(events))?.state;
        let parts = of_user(&before, &after);
        let users = if parts.is_empty() { vec![] } else { vec![UserDifference { user, parts }] };
        Found { users, ..Found::default() }
    } else {
        let one = fold(&one, || NobodyLooks, |events| meter.set(events))?.state;
        let other = fold(&other, || NobodyLooks, |events| meter.set(events))?.state;
        let registry = of_registries(&one.registry, &other.registry);
        Found { users: of_users(&one, &other), registry, ..Found::default() }
    };
    meter.finish();
    let found = found.named(&[&one, &other])?;
    if as_json {
        let value = json!({
            "from": from.to_string(), "to": to.to_string(),
            "users": found.users(), "registry": found.registry,
        });
        return out::line(&serde_json::to_string_pretty(&value)?);
    }
    let mut screen = Screen::default();
    found.print(&mut screen)?;
    screen.finish()?;
    out::note(&format!("{} users differ between {from} and {to}", found.users.len()));
    Ok(())
}

/// What two logs differ in.
struct Compared {
    only_first: Vec<Gap>,
    only_second: Vec<Gap>,
    forks: Vec<EventRef>,
    hashes: [Digest; 2],
    found: Found,
}

impl Compared {
    fn agree(&self) -> bool {
        let [first, second] = &self.hashes;
        let apart = self.only_first.len() + self.only_second.len() + self.forks.len();
        first == second && apart == 0
    }

    fn json(&self) -> Value {
        let gaps = |gaps: &[Gap]| gaps.iter().map(gap_json).collect::<Vec<_>>();
        let forks = self.forks.iter().map(|at| format!("{at:?}"));
        let [first, second] = &self.hashes;
        json!({
            "agree": self.agree(),
            "state_hash": { "first": first, "second": second },
            "events_only_in_first": gaps(&self.only_first),
            "events_only_in_second": gaps(&self.only_second),
            "forks": forks.collect::<Vec<_>>(),
            "users": self.found.users(),
            "registry": self.found.registry,
        })
    }

    fn print(&self) -> anyhow::Result<()> {
        let mut screen = Screen::default();
        let [first, second] = &self.hashes;
        screen.name("first", &first.to_string())?;
        screen.name("second", &second.to_string())?;
        for (name, gaps) in [("only first", &self.only_first), ("only second", &self.only_second)] {
            for gap in gaps {
                screen.name(name, &gap_text(gap))?;
            }
        }
        for at in &self.forks {
            let line = Line::default().and(Style::Bad, "fork         ");
            screen.print(&line.and(Style::Plain, format!("{at:?} is another event in each")))?;
        }
        self.found.print(&mut screen)?;
        let said = if self.agree() {
            Line::default().and(Style::Good, "both hold the same events and the same state")
        } else {
            let users = self.found.users.len();
            Line::default().and(Style::Bad, format!("they differ; {users} users differ"))
        };
        screen.print(&said)?;
        screen.finish()
    }
}

/// Prints which events only one of two histories has, and which users differ by that.
pub(super) fn against(one: &History, other: &History, as_json: bool) -> anyhow::Result<()> {
    if one.deployment() != other.deployment() {
        let (first, second) = (super::path(one, 0), super::path(other, 0));
        let (of, another) = (one.deployment(), other.deployment());
        anyhow::bail!("{second} is of deployment {another}, and {first} of {of}");
    }
    let (first, second) = (one.clone().compared(), other.clone().compared());
    let mut meter = Meter::events("replaying");
    let a = fold(&first, || NobodyLooks, |events| meter.set(events))?;
    let b = fold(&second, || NobodyLooks, |events| meter.set(events))?;
    meter.finish();
    let compared = compare(&a, &b, [&first, &second])?;
    if as_json {
        return out::line(&serde_json::to_string_pretty(&compared.json())?);
    }
    compared.print()
}

fn compare(
    a: &Folded<NobodyLooks>,
    b: &Folded<NobodyLooks>,
    histories: [&History; 2],
) -> anyhow::Result<Compared> {
    let registry = of_registries(&a.state.registry, &b.state.registry);
    let found = Found { users: of_users(&a.state, &b.state), registry, ..Found::default() };
    Ok(Compared {
        only_first: only_in(&a.coverage, &b.coverage),
        only_second: only_in(&b.coverage, &a.coverage),
        forks: forks(&a.coverage, &b.coverage),
        hashes: [a.state.state_hash(), b.state.state_hash()],
        found: found.named(&histories)?,
    })
}
