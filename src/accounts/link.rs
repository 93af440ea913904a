//! Saying that users are one person, or are not: links, severings, candidates.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::actors::house::SharedIdentity;
use crate::events::account::Account;
use crate::events::command::{Context, Outcome, Rest};
use crate::events::decide_link::{Between, LinkCommand, decide_link, is_candidate};
use crate::events::event::Cause;
use crate::events::ids::{IdentityKind, UserId};
use crate::events::policy::{Policy, Scope};
use crate::events::state::{Claims, UserState};

use super::caller::Caller;
use super::error::AccountError;
use super::repeat::Once;
use super::view::UserView;
use super::{Accounts, Loaded};

/// Users that one call for candidates looks at, at most: the next call goes on behind them.
const LOOKED_AT_MAX: usize = 5000;

/// Two users who may be one person.
#[derive(Debug, Serialize)]
pub struct LinkCandidate {
    /// The one with the lesser id.
    pub user_id: UserId,
    /// The other one.
    pub with: UserId,
    /// What both claim.
    pub evidence: Vec<Evidence>,
}

/// An identity that both claim.
#[derive(Debug, Serialize)]
pub struct Evidence {
    /// What it is.
    pub kind: IdentityKind,
    /// Whether both claims are verified.
    pub verified: bool,
}

/// A page of candidates.
#[derive(Debug)]
pub struct Candidates {
    /// The pairs, in the order of their ids.
    pub found: Vec<LinkCandidate>,
    /// The pair that was looked at last.
    pub last: Option<(UserId, UserId)>,
    /// Whether there may be more.
    pub has_more: bool,
}

type Users = BTreeMap<UserId, Arc<UserState>>;

impl Accounts {
    /// Says that two users are one person, takes them apart, or says that they are not the same.
    /// The repeat of a call says nothing again: it may have been unsaid since.
    pub async fn link(
        &self,
        caller: &Caller,
        command: LinkCommand,
        (one, other): (UserId, UserId),
    ) -> Result<Outcome, AccountError> {
        caller.require(Scope::Link)?;
        let Once::First(_held) = self.once(caller).await? else { return Ok(Outcome::Unchanged) };
        let mut users = self.load(one).await?.users;
        users.extend(self.load(other).await?.users);
        let cause = caller.cause_of_once();
        Ok(self.decide_link((caller, cause), &users, command, (one, other)).await?)
    }

    async fn decide_link(
        &self,
        (caller, cause): (&Caller, Cause),
        users: &Users,
        command: LinkCommand,
        (one, other): (UserId, UserId),
    ) -> Result<Outcome, crate::actors::Failure> {
        let caller = caller.as_company();
        let decide = |now| {
            let context = Context { now, caller, cause, if_seen: None, rest: Rest::NONE };
            decide_link(&Between { users, one, other }, command, &context)
        };
        self.parts.linker.record(decide).await
    }

    /// A user's account as a company sees it once it was linked or taken apart.
    pub async fn linked_view(
        &self,
        caller: &Caller,
        user: UserId,
    ) -> Result<UserView, AccountError> {
        let loaded = self.load(user).await?;
        self.view(&loaded, caller.may(Policy::Read, &loaded)).await
    }

    /// Links two users of whom both have a verified claim on one e-mail address, where the caller's
    /// policy lets it link them and nobody ever decided otherwise. If that cannot be written down
    /// the next login does it.
    pub(super) async fn link_by_itself(&self, caller: &Caller, loaded: &Loaded) -> bool {
        let Ok(others) = self.verified_with(loaded).await else { return false };
        let mut linked = false;
        for other in others {
            let mut users = loaded.users.clone();
            users.extend(other.users);
            let pair = (loaded.requested, other.requested);
            let command = LinkCommand::LinkByItself;
            let asked = (caller, caller.cause.clone());
            match self.decide_link(asked, &users, command, pair).await {
                Ok(outcome) => linked |= outcome == Outcome::Applied,
                Err(crate::actors::Failure::Rejected(_)) => {}
                Err(crate::actors::Failure::Unavailable(error)) => {
                    tracing::warn!(user = %loaded.requested, %error, "a link was not recorded");
                }
            }
        }
        linked
    }

    /// The users beyond an account who have a verified claim on an e-mail address that its user
    /// has one on.
    async fn verified_with(&self, loaded: &Loaded) -> Result<Vec<Loaded>, AccountError> {
        let mut others: BTreeMap<UserId, Loaded> = BTreeMap::new();
        let claims = loaded.user().into_iter().flat_map(UserState::identities);
        let verified = |(_, claims): &(_, &Claims)| claims.is_verified();
        for (index, _) in claims.filter(verified) {
            if index.kind != IdentityKind::Email {
                continue;
            }
            for user in self.parts.house.entered(*index)? {
                if !loaded.users.contains_key(&user) && !others.contains_key(&user) {
                    others.insert(user, self.load(user).await?);
                }
            }
        }
        Ok(others.into_values().collect())
    }

    /// Pairs of users who claim one identity and of whom nobody said whether they are one person,
    /// behind a pair, as far as the caller may link them.
    pub async fn link_candidates(
        &self,
        caller: &Caller,
        after: Option<(UserId, UserId)>,
        limit: usize,
    ) -> Result<Candidates, AccountError> {
        caller.require(Scope::Link)?;
        let shared = self.parts.house.shared_identities(after, LOOKED_AT_MAX).await?;
        let mut page = Candidates { found: Vec::new(), last: after, has_more: false };
        let mut pairs: BTreeMap<(UserId, UserId), Vec<SharedIdentity>> = BTreeMap::new();
        for identity in shared.found {
            pairs.entry(identity.users).or_default().push(identity);
        }
        for (pair, identities) in pairs {
            if page.found.len() >= limit {
                page.has_more = true;
                return Ok(page);
            }
            page.last = Some(pair);
            page.found.extend(self.candidate(caller, pair, &identities).await?);
        }
        (page.last, page.has_more) = (shared.last.or(page.last), !shared.is_end);
        Ok(page)
    }

    async fn candidate(
        &self,
        caller: &Caller,
        (one, other): (UserId, UserId),
        identities: &[SharedIdentity],
    ) -> Result<Option<LinkCandidate>, AccountError> {
        let mut users: Users = self.load_any(one).await?.users;
        users.extend(self.load_any(other).await?.users);
        let between = Between { users: &users, one, other };
        let account = Account::of(&users);
        let own = account.is_own_of(caller.company);
        let may = |policy| caller.policies.reach(policy).covers(own);
        let sees = may(Policy::Link) && may(Policy::Read) && account.has_member_of(caller.company);
        if !sees || !is_candidate(&between) {
            return Ok(None);
        }
        let claims = |user| users.get(user).map(|state: &Arc<UserState>| &state.claims);
        let evidence = identities.iter().filter_map(|it| {
            let (one, other) = (claims(&one)?.get(&it.index)?, claims(&other)?.get(&it.index)?);
            let live = one.is_live() && other.is_live();
            let verified = one.is_verified() && other.is_verified();
            live.then_some(Evidence { kind: it.index.kind, verified })
        });
        let evidence: Vec<_> = evidence.collect();
        let is_one = !evidence.is_empty();
        Ok(is_one.then_some(LinkCandidate { user_id: one, with: other, evidence }))
    }
}
