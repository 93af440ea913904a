//! What the page shows.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cli::replay::summary::{gap_json, in_json, kind_name};
use crate::cli::replay::timeline::{entry_json, held_json};
use crate::events::ids::UserId;
use crate::events::state::UserState;
use crate::replay::chart::{Chart, Column};
use crate::replay::differences::of_user;
use crate::replay::fold::{Folded, ReplayError};
use crate::replay::history::History;
use crate::replay::timeline::unrolled;

use super::server::Answer;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Most users in an answer to a search.
const USERS_MAX: usize = 12;

/// A folded history.
pub(super) struct Shown {
    history: History,
    folded: Folded<Chart>,
    summary: Value,
}

impl Shown {
    pub(super) fn new(history: History, folded: Folded<Chart>) -> Self {
        let summary = summary(&history, &folded);
        Self { history, folded, summary }
    }

    /// What stands at a path.
    pub(super) fn answer(&self, path: &str) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match path {
            "/" => page(),
            "/summary.json" => Answer::json(&self.summary),
            "/users.json" => Answer::json(&self.users(query.strip_prefix("q=").unwrap_or(query))),
            path => match path.strip_prefix("/user/").and_then(|rest| rest.strip_suffix(".json")) {
                Some(id) => self.user(id),
                None => Answer::text("404 Not Found", "nothing is here"),
            },
        }
    }

    fn users(&self, part: &str) -> Value {
        let found = self.folded.onlooker.users(&part.to_ascii_lowercase(), USERS_MAX);
        found.iter().map(|(user, events)| json!({ "user": user, "events": events })).collect()
    }

    fn user(&self, id: &str) -> Answer {
        let Ok(user) = id.parse::<UserId>() else {
            return Answer::text("404 Not Found", "that is no user's id");
        };
        match self.timeline(user) {
            Ok(value) => Answer::json(&value),
            Err(error) => Answer::text("500 Internal Server Error", &error.to_string()),
        }
    }

    fn timeline(&self, user: UserId) -> Result<Value, ReplayError> {
        let distrust = &self.folded.state.registry.distrust;
        let read = self.folded.onlooker.about(&self.history, user, distrust)?;
        let (mut before, mut steps) = (UserState::default(), Vec::new());
        // Each step says what it took from the state and what it added.
        let timeline = unrolled(user, read, |state| {
            let parts = of_user(&before, state);
            let gone: Vec<_> = parts.iter().flat_map(|it| &it.one).map(held_json).collect();
            let new: Vec<_> = parts.iter().flat_map(|it| &it.other).map(held_json).collect();
            steps.push(json!({ "gone": gone, "new": new }));
            before = state.clone();
        });
        let entries: Vec<_> = timeline.entries.iter().map(entry_json).collect();
        Ok(json!({ "user": user, "entries": entries, "steps": steps }))
    }
}

fn summary(history: &History, folded: &Folded<Chart>) -> Value {
    let chart = &folded.onlooker;
    let mut value = in_json(history, folded, &chart.summary);
    let first = chart.columns.first_key_value().map_or(0, |(number, _)| *number);
    let last = chart.columns.last_key_value().map_or(0, |(number, _)| *number);
    let none = Column::default();
    let columns: Vec<&Column> =
        (first..=last).map(|number| chart.columns.get(&number).unwrap_or(&none)).collect();
    let kinds: BTreeSet<_> = columns.iter().flat_map(|it| it.kinds.keys()).collect();
    let origins: BTreeSet<_> = columns.iter().flat_map(|it| it.origins.keys()).collect();
    let series = |name: String, of: &dyn Fn(&Column) -> Option<u64>| {
        let values: Vec<_> = columns.iter().map(|it| of(it)).collect();
        json!({ "name": name, "values": values })
    };
    let by_kind = kinds.iter().map(|kind| {
        series(kind_name(**kind), &|it| Some(it.kinds.get(kind).copied().unwrap_or(0)))
    });
    let by_origin = origins.iter().map(|origin| {
        series(origin.to_string(), &|it| Some(it.origins.get(origin).copied().unwrap_or(0)))
    });
    let late = origins
        .iter()
        .map(|origin| series(origin.to_string(), &|it| it.late_ms.get(origin).copied()));
    let chart = json!({
        "first_unix_ms": first.saturating_mul(chart.width_ms),
        "width_ms": chart.width_ms,
        "by_kind": by_kind.collect::<Vec<_>>(),
        "by_origin": by_origin.collect::<Vec<_>>(),
        "late_ms": late.collect::<Vec<_>>(),
    });
    let gaps = folded.coverage.gaps(&folded.state.registry);
    if let Some(object) = value.as_object_mut() {
        object.insert("chart".to_owned(), chart);
        object.insert("gaps".to_owned(), gaps.iter().map(gap_json).collect());
    }
    value
}

/// The page, whole: a browser is told to run and to show nothing but what is in it.
fn page() -> Answer {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE),
    );
    let body = PAGE.replace("{style}", STYLE).replace("{script}", SCRIPT);
    let kind = "text/html; charset=utf-8";
    Answer { status: "200 OK", kind, policy, body: body.into_bytes() }
}
