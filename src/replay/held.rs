//! What a user's state holds, part by part, as people may see it: never a value, always since when
//! and from where.

use crate::events::cell::Mark;
use crate::events::event::Sealed;
use crate::events::state::{Link, UserState};

use super::parts::Part;

/// One thing that stands in a part of a user's state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The part.
    pub part: String,
    /// What is to be seen of it.
    pub is: String,
    /// What it was written with; none for what keeps no mark.
    pub mark: Option<Mark>,
}

fn held(part: &Part, is: impl Into<String>, mark: Mark) -> Held {
    Held { part: part.to_string(), is: is.into(), mark: Some(mark) }
}

/// Everything a state holds, in the order of its parts.
pub fn held_by(state: &UserState) -> Vec<Held> {
    let mut all = Vec::new();
    if let Some(cell) = &state.erased {
        all.push(held(&Part::Erasure, "erased", cell.mark));
    }
    if let Some(cell) = &state.registered {
        let is = format!("by {} in {}", cell.value.company, cell.value.country);
        all.push(held(&Part::Registration, is, cell.mark));
    }
    status(state, &mut all);
    credentials(state, &mut all);
    for (index, claims) in &state.claims {
        let part = Part::Identity(*index);
        for (mark, claim) in &claims.live {
            let is = if claim.verified { "claimed, verified" } else { "claimed" };
            all.push(held(&part, is, *mark));
        }
        if let Some(mark) = claims.released {
            all.push(held(&part, "released", mark));
        }
    }
    for (field, cell) in &state.profile {
        let is = cell.value.as_ref().map_or("removed", |_: &Sealed| "set");
        all.push(held(&Part::Field(field.clone()), is, cell.mark));
    }
    for (company, cell) in &state.memberships {
        let is = if cell.value { "customer" } else { "no customer any more" };
        all.push(held(&Part::Membership(*company), is, cell.mark));
    }
    for (key, mark) in &state.keys {
        all.push(held(&Part::Key(*key), "made", *mark));
    }
    for (other, cell) in &state.links {
        let is = match cell.value {
            Link::Linked { automatic: true } => "linked by the system",
            Link::Linked { automatic: false } => "linked",
            Link::Unlinked => "unlinked",
            Link::Declined => "declined",
        };
        all.push(held(&Part::Link(*other), is, cell.mark));
    }
    all
}

fn status(state: &UserState, all: &mut Vec<Held>) {
    for ((origin, revision), mark) in &state.status.disablings {
        all.push(held(&Part::Disabling(*origin, *revision), "disabled", *mark));
    }
    let part = Part::Enabling.to_string();
    for (origin, revision) in &state.status.lifted {
        let is = format!("disablings of {origin} lifted up to {revision}");
        all.push(Held { part: part.clone(), is, mark: None });
    }
}

fn credentials(state: &UserState, all: &mut Vec<Held>) {
    if let Some(cell) = &state.secret {
        let is = if cell.mark.stamp.generation > 0 { "password, hashed anew" } else { "password" };
        all.push(held(&Part::Secret, is, cell.mark));
    }
    for (slot, cell) in &state.legacy {
        let is = if cell.mark.stamp.effective.is_change() { "change" } else { "import" };
        all.push(held(&Part::Legacy(*slot), is, cell.mark));
    }
    if let Some(floor) = &state.credential_floor {
        let is = format!("nothing up to {} of {} counts", floor.revision, floor.origin);
        all.push(Held { part: Part::CredentialFloor.to_string(), is, mark: None });
    }
}
