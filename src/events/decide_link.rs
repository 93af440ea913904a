//! The rules between users: who is said to be one person, by whom, and what follows.
//!
//! A link is decided on all users of both accounts as they are on disk. Decisions that cross each
//! other need no order: each is a register between two users, and the greatest stamp prevails.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::account::Account;
use super::command::{Caller, Context, Outcome, Rejection};
use super::decide::Decision;
use super::event::{Draft, Event, UsersLinked, UsersUnlinked};
use super::ids::{IdentityKind, UserId};
use super::pair::Pair;
use super::policy::Policy;
use super::record::Subject;
use super::stamp::{EffectiveTime, Stamp};
use super::state::{Claims, Link, UserState};

/// Most users of one account.
pub const LINKED_USERS_MAX: usize = 64;

/// What is asked about two users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkCommand {
    /// They are one person, somebody says.
    Link,
    /// They are one person, the system concludes.
    LinkByItself,
    /// The second one is to be no part of the first one's account any more.
    Unlink,
    /// They are not the same, somebody says before they were ever linked.
    Decline,
}

/// The users of one or two accounts, and the two of them that are asked about.
#[derive(Debug)]
pub struct Between<'a, S> {
    /// Every user of both accounts.
    pub users: &'a BTreeMap<UserId, S>,
    /// The first one.
    pub one: UserId,
    /// The second one.
    pub other: UserId,
}

const UNCHANGED: Decision = Decision { drafts: Vec::new(), outcome: Outcome::Unchanged };

/// Decides a command on two users.
pub fn decide_link<S: Borrow<UserState>>(
    between: &Between<'_, S>,
    command: LinkCommand,
    context: &Context,
) -> Result<Decision, Rejection> {
    let Between { one, other, .. } = *between;
    let pair = Pair::new(one, other).ok_or(Rejection::SameUser)?;
    between.require_live(one)?;
    between.require_live(other)?;
    between.require_policy(context)?;
    let linked = between.side_of(one, None).contains(&other);
    let link = between.link(one, other);
    let now = EffectiveTime::at(context.now);
    let draft = |effective, event| Draft {
        subject: Subject::Pair(pair),
        revision: context.now,
        effective,
        cause: context.cause.clone(),
        event,
    };
    let recorded = match command {
        // Who are one account by way of others may be joined by a word of their own.
        LinkCommand::Link if link == Some(Link::Linked { automatic: false }) => {
            return Ok(UNCHANGED);
        }
        LinkCommand::Link => {
            between.require_few()?;
            draft(now, Event::UsersLinked(UsersLinked { pair, automatic: false }))
        }
        // Once: whatever anybody decided before stands, about the two and about whomever the link
        // would join by way of them.
        LinkCommand::LinkByItself
            if linked || !between.share_verified() || between.is_decided_across() =>
        {
            return Ok(UNCHANGED);
        }
        LinkCommand::LinkByItself => {
            between.require_few()?;
            let event = Event::UsersLinked(UsersLinked { pair, automatic: true });
            draft(EffectiveTime::LOWEST, event)
        }
        LinkCommand::Unlink if !linked => return Ok(UNCHANGED),
        LinkCommand::Unlink => draft(now, Event::UsersUnlinked(between.unlinked())),
        LinkCommand::Decline if linked => return Err(Rejection::Linked),
        LinkCommand::Decline if link == Some(Link::Declined) => return Ok(UNCHANGED),
        LinkCommand::Decline => draft(now, Event::LinkDeclined(pair)),
    };
    Ok(Decision { drafts: vec![recorded], outcome: Outcome::Applied })
}

/// Whether two users are to be looked at by somebody: they claim one identity, and nobody said
/// whether they are one person.
pub fn is_candidate<S: Borrow<UserState>>(between: &Between<'_, S>) -> bool {
    let linked = between.side_of(between.one, None).contains(&between.other);
    !linked && between.link(between.one, between.other).is_none()
}

impl<S: Borrow<UserState>> Between<'_, S> {
    fn state(&self, user: UserId) -> Option<&UserState> {
        self.users.get(&user).map(Borrow::borrow)
    }

    fn require_live(&self, user: UserId) -> Result<(), Rejection> {
        match self.state(user) {
            Some(state) if state.erased.is_some() => Err(Rejection::UserErased),
            Some(state) if state.is_live() => Ok(()),
            _ => Err(Rejection::UserNotFound),
        }
    }

    /// The policy must reach both accounts: a link opens each to whoever gets into the other.
    fn require_policy(&self, context: &Context) -> Result<(), Rejection> {
        let Caller::Company(company, policies) = &context.caller else { return Ok(()) };
        let own = Account::of(self.users).is_own_of(*company);
        if policies.reach(Policy::Link).covers(own) {
            return Ok(());
        }
        Err(Rejection::PolicyDenied { policy: Policy::Link })
    }

    fn require_few(&self) -> Result<(), Rejection> {
        if self.users.len() > LINKED_USERS_MAX {
            return Err(Rejection::TooManyLinked { max: LINKED_USERS_MAX });
        }
        Ok(())
    }

    fn link(&self, one: UserId, other: UserId) -> Option<Link> {
        self.state(one)?.links.get(&other).map(|cell| cell.value)
    }

    /// Everybody who is linked with a user, by ways that do not lead past another one.
    fn side_of(&self, user: UserId, without: Option<UserId>) -> BTreeSet<UserId> {
        let (mut side, mut found) = (BTreeSet::new(), vec![user]);
        while let Some(user) = found.pop() {
            if Some(user) != without && side.insert(user) {
                found.extend(self.state(user).into_iter().flat_map(UserState::linked));
            }
        }
        side
    }

    /// Whether anything was ever said between one of the first one's side and one of the other's.
    fn is_decided_across(&self) -> bool {
        let (ones, others) = (self.side_of(self.one, None), self.side_of(self.other, None));
        ones.iter().any(|one| others.iter().any(|other| self.link(*one, *other).is_some()))
    }

    /// Whether both have a verified claim on one e-mail address. A phone number may have changed
    /// hands.
    fn share_verified(&self) -> bool {
        let verified = |claims: &Claims| claims.is_live() && claims.is_verified();
        let (Some(one), Some(other)) = (self.state(self.one), self.state(self.other)) else {
            return false;
        };
        one.claims.iter().any(|(index, claims)| {
            index.kind == IdentityKind::Email
                && verified(claims)
                && other.claims.get(index).is_some_and(verified)
        })
    }

    /// The second user leaves the first one's side, with whoever is linked by way of it alone.
    /// Every pair across is severed, so that nothing joins them again by itself. The side without
    /// the account's password loses all credentials up to it: they opened what is now another's.
    fn unlinked(&self) -> UsersUnlinked {
        let staying = self.side_of(self.one, Some(self.other));
        let all = self.side_of(self.one, None);
        let leaving: BTreeSet<UserId> = all.difference(&staying).copied().collect();
        let across = |one: &UserId| {
            let one = *one;
            leaving.iter().filter_map(move |other| Pair::new(one, *other))
        };
        let pairs = staying.iter().flat_map(across).collect();
        let users: BTreeMap<UserId, &UserState> = self
            .users
            .iter()
            .filter(|(id, _)| all.contains(id))
            .map(|(id, it)| (*id, it.borrow()))
            .collect();
        let password = Account::of(&users).credentials(None);
        let password = password.iter().find(|it| it.is_password());
        let floors = password.map(|password| {
            let keeps = if staying.contains(&password.user) { &staying } else { &leaving };
            let lose = all.difference(keeps);
            let floor = Stamp { generation: 0, ..password.mark.stamp };
            lose.map(|user| (*user, floor)).collect()
        });
        UsersUnlinked { pairs, floors: floors.unwrap_or_default() }
    }
}
