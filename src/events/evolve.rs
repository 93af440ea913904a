//! The fold: what an event does to a user's state.
//!
//! No rules here, no refusals, no clock and no order: fold the same set of facts in any order, any
//! of them twice, and the state is the same to the byte. That is the law everything else rests on;
//! tests/events/fold.rs holds it.

use super::cell::{Cell, Effect, Mark};
use super::event::{
    Event, FieldChange, IdentityClaimed, LegacyHashAdded, PasswordSet, UsersUnlinked,
};
use super::ids::{BlindIndex, UserId};
use super::record::{Fact, Register};
use super::stamp::{Origin, Revision, Stamp};
use super::state::{Claim, Claims, Credential, Link, UserState};

/// Folds one fact into the state of one user that it touches.
pub fn evolve(state: &mut UserState, user: UserId, fact: &Fact) -> Effect {
    state.greatest = state.greatest.max(fact.revision);
    let mark = Mark::of(fact);
    match fact.register {
        // An erased user stays a joint between those it was linked with.
        Register::Link => return link(state, user, mark, fact),
        // A tombstone needs no body, nor does the name of a key.
        Register::Erasure => return erase(state, mark),
        // Who confirmed is read from the user's events when somebody asks.
        Register::ErasureConfirmed => return Effect::Ignored,
        _ if state.erased.is_some() => return Effect::Ignored,
        Register::UserKey(key) => {
            return match state.keys.insert(key, mark) {
                Some(known) if known == mark => Effect::Known,
                Some(known) if known > mark => {
                    state.keys.insert(key, known);
                    Effect::Lost
                }
                _ => Effect::Prevailed,
            };
        }
        _ => {}
    }
    let Some(event) = &fact.event else { return Effect::Ignored };
    match event {
        Event::UserRegistered(registered) => {
            Cell::offer(&mut state.registered, mark, registered.clone())
        }
        Event::CompanyJoined(company) => {
            Cell::offer_in(&mut state.memberships, *company, mark, true)
        }
        Event::CompanyLeft(company) => {
            Cell::offer_in(&mut state.memberships, *company, mark, false)
        }
        Event::IdentityClaimed(claimed) => claim(state, mark, claimed),
        Event::IdentityReleased(index) => release(state, mark, *index),
        Event::PasswordSet(set) => {
            Cell::offer(&mut state.secret, mark, secret_credential(set, fact))
        }
        Event::LegacyHashAdded(added) => {
            Cell::offer_in(&mut state.legacy, added.slot, mark, legacy_credential(added, fact))
        }
        Event::ProfileUpdated(changes) => update_profile(state, mark, changes),
        Event::UserDisabled(()) => disable(state, mark, fact),
        Event::UserEnabled(lifts) => enable(state, lifts),
        // Not about a user, or handled above by its register.
        Event::UserKeyCreated(_)
        | Event::UserErased(())
        | Event::ErasureConfirmed(())
        | Event::UsersLinked(_)
        | Event::UsersUnlinked(_)
        | Event::LinkDeclined(_)
        | Event::CompanyRegistered(_)
        | Event::PolicySet(_)
        | Event::ApiKeyIssued(_)
        | Event::ApiKeyRevoked(_)
        | Event::HashProfileDeclared(_)
        | Event::OriginOpened(_)
        | Event::BranchKeyCreated(_)
        | Event::BranchKeyWrapped(_)
        | Event::OriginDistrusted(_) => Effect::Ignored,
    }
}

fn erase(state: &mut UserState, mark: Mark) -> Effect {
    let effect = Cell::offer(&mut state.erased, mark, ());
    let UserState { erased, links, greatest, .. } = std::mem::take(state);
    *state = UserState { erased, links, greatest, ..UserState::default() };
    effect
}

fn link(state: &mut UserState, user: UserId, mark: Mark, fact: &Fact) -> Effect {
    let mut write = |pair: &super::pair::Pair, link| match pair.other(user) {
        Some(other) => Cell::offer_in(&mut state.links, other, mark, link),
        None => Effect::Ignored,
    };
    match &fact.event {
        Some(Event::UsersLinked(linked)) => {
            write(&linked.pair, Link::Linked { automatic: linked.automatic })
        }
        Some(Event::LinkDeclined(pair)) => write(pair, Link::Declined),
        Some(Event::UsersUnlinked(UsersUnlinked { pairs, floors })) => {
            let severed = pairs
                .iter()
                .map(|pair| write(pair, Link::Unlinked))
                .fold(Effect::Ignored, Effect::and);
            let own = floors.iter().filter(|(of, _)| *of == user).map(|(_, floor)| *floor).max();
            raise_floor(state, own).and(severed)
        }
        _ => Effect::Ignored,
    }
}

fn raise_floor(state: &mut UserState, floor: Option<Stamp>) -> Effect {
    // An erased user has no credentials: its floor would say when others' were set.
    if state.erased.is_some() || floor.is_none() {
        return Effect::Ignored;
    }
    if state.credential_floor >= floor {
        return Effect::Known;
    }
    state.credential_floor = floor;
    Effect::Prevailed
}

fn claim(state: &mut UserState, mark: Mark, claimed: &IdentityClaimed) -> Effect {
    let claims = state.claims.or_default(claimed.index);
    if claims.released.is_some_and(|released| released > mark) {
        return Effect::Lost;
    }
    let (verified, value) = (claimed.verified, claimed.value.clone());
    let claim = Claim { verified, value, since: claimed.since };
    match claims.live.insert(mark, claim) {
        Some(_) => Effect::Known,
        None => Effect::Prevailed,
    }
}

fn release(state: &mut UserState, mark: Mark, index: BlindIndex) -> Effect {
    let claims: &mut Claims = state.claims.or_default(index);
    match claims.released {
        Some(standing) if standing == mark => return Effect::Known,
        Some(standing) if standing > mark => return Effect::Lost,
        _ => claims.released = Some(mark),
    }
    claims.live.retain(|claimed, _| *claimed > mark);
    Effect::Prevailed
}

fn secret_credential(set: &PasswordSet, fact: &Fact) -> Credential {
    let mut lineage = set.upgrade.as_ref().map(|from| from.lineage.clone()).unwrap_or_default();
    lineage.push(fact.reference);
    Credential { hash: set.secret.clone(), profile: None, lineage }
}

fn legacy_credential(added: &LegacyHashAdded, fact: &Fact) -> Credential {
    Credential { hash: added.hash.clone(), profile: added.profile, lineage: vec![fact.reference] }
}

fn update_profile(state: &mut UserState, mark: Mark, changes: &[FieldChange]) -> Effect {
    let mut effect = Effect::Ignored;
    for change in changes {
        let field = change.field.clone();
        let offered = Cell::offer_in(&mut state.profile, field, mark, change.value.clone());
        effect = effect.and(offered);
    }
    effect
}

fn disable(state: &mut UserState, mark: Mark, fact: &Fact) -> Effect {
    let at = (fact.reference.origin, fact.revision);
    let lifted = state.status.lifted.get(&at.0).is_some_and(|greatest| *greatest >= at.1);
    if lifted {
        return Effect::Lost;
    }
    match state.status.disablings.insert(at, mark) {
        Some(known) if known == mark => Effect::Known,
        Some(known) if known > mark => {
            state.status.disablings.insert(at, known);
            Effect::Lost
        }
        _ => Effect::Prevailed,
    }
}

fn enable(state: &mut UserState, lifts: &[(Origin, Revision)]) -> Effect {
    let mut effect = Effect::Known;
    for (origin, revision) in lifts {
        let greatest = state.status.lifted.entry(*origin).or_default();
        if revision > greatest {
            *greatest = *revision;
            effect = Effect::Prevailed;
        }
    }
    state.status.settle();
    effect
}
