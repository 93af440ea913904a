//! All actors of a node, as those above speak to them: typed questions, and "overloaded" at once
//! where a mailbox is full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use tokio::sync::oneshot;

use crate::events::account::{Claimant, Seen};
use crate::events::command::{Caller, Command, Outcome, Rest};
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{Cause, UserKeyCreated};
use crate::events::ids::{BlindIndex, CompanyId, KeyedDigest, UserId, UserKeyId};
use crate::events::record::LogPosition;
use crate::events::state::UserState;
use crate::log::LogReader;
use crate::state::error::StateError;
use crate::state::store::Store;

use super::absorb::{Absorb, AbsorbRegistry, Absorbed, OfUser, Sorted};
use super::directory::{self, Begun, Directory, DirectoryView, Repeat, Reserved};
use super::failure::{Failure, Unavailable};
use super::known::Known;
use super::members::{self, Members};
use super::registry::{
    self, Registry, RegistryFailure, RegistrySnapshot, RegistryView, RegistryWatch,
};
use super::shard::{self, Answer, ShardView};
use super::shard_mailbox::Shard;
use super::shard_reads::{self, Recalled, Recorded};

/// The actors of a node. Cheap to clone.
#[derive(Clone)]
pub struct House {
    shards: Arc<[ShardAddress]>,
    directory: Directory,
    registry: Addr<Registry>,
    registry_view: RegistryWatch,
    store: Arc<Store>,
    reader: LogReader,
    /// Look-ups of identities so far.
    found: Arc<AtomicU64>,
}

/// Where a shard is asked, and the states it keeps for everybody to read.
pub struct ShardAddress {
    /// Its mailbox.
    pub mailbox: Addr<Shard>,
    /// The states.
    pub known: Arc<Known>,
}

/// A command on one user, with everything it is decided by.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub command: Command,
    /// Who asks.
    pub caller: Caller,
    /// What is kept of the request.
    pub cause: Cause,
    /// What the caller must have seen.
    pub if_seen: Option<Seen>,
    /// The other users of the account.
    pub rest: Rest,
}

impl House {
    /// The house of these actors. There is at least one shard.
    pub fn new(
        shards: Vec<ShardAddress>,
        directory: Directory,
        (registry, registry_view): (Addr<Registry>, RegistryWatch),
        (store, reader): (Arc<Store>, LogReader),
    ) -> Self {
        let shards = shards.into();
        Self { shards, directory, registry, registry_view, store, reader, found: Arc::default() }
    }

    /// Carries a command out. The answer comes when everything it rests on is durable.
    pub async fn ask(&self, user: UserId, asked: Asked) -> Result<Answer, Failure> {
        let Asked { command, caller, cause, if_seen, rest } = asked;
        let shard = self.shard(user)?;
        call(shard, |reply| shard::Ask { user, command, caller, cause, if_seen, rest, reply })
            .await?
    }

    /// A user's state as it is on disk; the empty one where nothing is known of it. Its shard is
    /// asked only where it cannot follow its log, to hear so.
    pub async fn read(&self, user: UserId) -> Result<Arc<UserState>, Unavailable> {
        let address = self.shards.get(self.shard_number(user));
        if let Some(read) = address.and_then(|shard| shard.known.look(&self.store, user)) {
            return read;
        }
        call(self.shard(user)?, |reply| shard::Read { user, reply }).await?
    }

    /// Whether a user is erased, as far as is on disk.
    pub fn is_erased(&self, user: UserId) -> bool {
        let state = self.store.user(user);
        state.is_ok_and(|state| state.is_some_and(|state| state.erased.is_some()))
    }

    /// A user's wrapped keys, read from the log. A key whose body was blanked is left out.
    pub fn read_keys(&self, user: UserId) -> Result<Vec<(UserKeyId, UserKeyCreated)>, Unavailable> {
        shard_reads::wrapped_keys(&self.store, &self.reader, user)
    }

    /// A user's events above a position, oldest first.
    pub async fn read_history(
        &self,
        user: UserId,
        after: LogPosition,
        limit: usize,
    ) -> Result<Vec<Recorded>, Unavailable> {
        call(self.shard(user)?, |reply| shard_reads::ReadHistory { user, after, limit, reply })
            .await?
    }

    /// Who claims an identity. It is read past the directory, whose turns are for those that
    /// decide.
    pub async fn find(
        &self,
        index: BlindIndex,
        company: CompanyId,
    ) -> Result<Vec<Claimant>, Unavailable> {
        self.found.fetch_add(1, Ordering::Relaxed);
        let entered = self.store.entered(index).map_err(|error| directory::unreadable(&error))?;
        let mut claimants = Vec::with_capacity(entered.len());
        for user in entered {
            let state = self.read(user).await?;
            claimants.extend(Claimant::of(user, &state, index, company));
        }
        Ok(claimants)
    }

    /// Everyone with an entry for an identity. Whether they claim it, their states say.
    pub fn entered(&self, index: BlindIndex) -> Result<Vec<UserId>, Unavailable> {
        self.store.entered(index).map_err(|error| directory::unreadable(&error))
    }

    /// Identities that several users have entries for, in the order of the pairs, behind a pair:
    /// of so many users, looked at on a thread of its own.
    pub async fn shared_identities(
        &self,
        after: Option<(UserId, UserId)>,
        users_max: usize,
    ) -> Result<SharedIdentities, Unavailable> {
        let store = Arc::clone(&self.store);
        let look = move || shared_identities(&store, after, users_max);
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(|_| Unavailable::NotReady)?.map_err(|error| directory::unreadable(&error))
    }

    /// A company's customers among so many users behind one, looked at on a thread of its own.
    pub async fn members(
        &self,
        company: CompanyId,
        after: Option<UserId>,
        users_max: usize,
    ) -> Result<Members, Unavailable> {
        let store = Arc::clone(&self.store);
        let look = move || members::of(&store, company, after, users_max);
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(|_| Unavailable::NotReady)?.map_err(|error| directory::unreadable(&error))
    }

    /// Holds an identity until the answer is dropped, waiting for whoever holds it now.
    pub async fn reserve(
        &self,
        index: BlindIndex,
        company: CompanyId,
    ) -> Result<Reserved, Unavailable> {
        self.directory.reserve(index, company).await
    }

    /// Holds an idempotency key until the answer is dropped, waiting for whoever holds it now.
    pub async fn begin(&self, key: KeyedDigest) -> Result<Begun, Unavailable> {
        self.directory.begin(key).await
    }

    /// What a command with an idempotency key recorded, folded alone.
    pub async fn read_repeat(&self, repeat: Repeat) -> Result<Recalled, Unavailable> {
        call(self.shard(repeat.user)?, |reply| shard_reads::ReadRepeat { repeat, reply }).await?
    }

    /// Carries a command of the registry out.
    pub async fn administer(
        &self,
        command: RegistryCommand,
        cause: Cause,
    ) -> Result<Outcome, RegistryFailure> {
        call(&self.registry, |reply| registry::Ask { command, cause, reply }).await?
    }

    /// Companies and keys as they are on disk.
    pub fn registry(&self) -> Arc<RegistryView> {
        Arc::clone(&self.registry_view.borrow())
    }

    /// Where the newest view of companies and keys is found.
    pub fn registry_watch(&self) -> RegistryWatch {
        self.registry_view.clone()
    }

    /// Waits until every actor has put into the store what the log delivered before.
    pub async fn settle(&self) -> Result<(), Unavailable> {
        for shard in self.shards.iter() {
            call(&shard.mailbox, shard::Barrier).await?;
        }
        call(&self.registry, registry::Barrier).await
    }

    /// What the shards show of themselves, summed up.
    pub async fn observe_shards(&self) -> Result<ShardView, Unavailable> {
        let mut sum = ShardView::default();
        for shard in self.shards.iter() {
            let view = call(&shard.mailbox, shard::Observe).await?;
            sum.in_flight += view.in_flight;
            sum.applied += view.applied;
            sum.rejected += view.rejected;
            sum.unavailable += view.unavailable;
            sum.lost += view.lost;
        }
        Ok(sum)
    }

    /// How often it was asked who claims an identity.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// What the registry shows of itself.
    pub async fn observe_registry(&self) -> Result<RegistrySnapshot, Unavailable> {
        call(&self.registry, registry::Observe).await
    }

    /// What the directory shows of itself.
    pub fn observe_directory(&self) -> DirectoryView {
        self.directory.view()
    }

    /// Puts facts that other origins recorded, and that are durable here, to everyone they touch.
    /// `absorbed` is let go when they are in the store.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is durable must arrive; the inbox bounds how much is on its way"
    )]
    pub fn absorb(&self, sorted: Sorted, absorbed: &Arc<Absorbed>) {
        let mut of_shards: BTreeMap<usize, Vec<OfUser>> = BTreeMap::new();
        for of_user in sorted.users {
            of_shards.entry(self.shard_number(of_user.0)).or_default().push(of_user);
        }
        for (number, users) in of_shards {
            if let Some(shard) = self.shards.get(number) {
                shard.mailbox.do_send(Absorb { users, absorbed: Arc::clone(absorbed) });
            }
        }
        if !sorted.registry.is_empty() {
            let (facts, absorbed) = (sorted.registry, Arc::clone(absorbed));
            self.registry.do_send(AbsorbRegistry { facts, absorbed });
        }
    }

    fn shard_number(&self, user: UserId) -> usize {
        let random = user.as_bytes().last_chunk().map_or(0, |end| u64::from_be_bytes(*end));
        place(self.shards.len(), random)
    }

    /// The shard of a user: by the random end of its id, so that users made together spread.
    fn shard(&self, user: UserId) -> Result<&Addr<Shard>, Unavailable> {
        let address = self.shards.get(self.shard_number(user)).ok_or(Unavailable::NotReady)?;
        Ok(&address.mailbox)
    }
}

/// An identity that two users have entries for.
#[derive(Debug, Clone, Copy)]
pub struct SharedIdentity {
    /// The two, the lesser id first.
    pub users: (UserId, UserId),
    /// The identity.
    pub index: BlindIndex,
}

/// What was found of shared identities.
#[derive(Debug, Default)]
pub struct SharedIdentities {
    /// The identities.
    pub found: Vec<SharedIdentity>,
    /// Behind which pair to look on.
    pub last: Option<(UserId, UserId)>,
    /// Whether all users were looked at.
    pub is_end: bool,
}

fn shared_identities(
    store: &Store,
    after: Option<(UserId, UserId)>,
    users_max: usize,
) -> Result<SharedIdentities, StateError> {
    let mut shared = SharedIdentities { is_end: true, ..SharedIdentities::default() };
    let from = after.map_or(UserId::from_bytes([0; 16]), |(user, _)| user);
    for (number, entry) in store.users_from(from).enumerate() {
        if number >= users_max {
            shared.is_end = false;
            break;
        }
        let (user, state) = entry?;
        for (index, _) in state.identities() {
            for other in store.entered(*index)?.into_iter().filter(|other| *other > user) {
                if after.is_none_or(|after| (user, other) > after) {
                    let users = (user, other);
                    shared.found.push(SharedIdentity { users, index: *index });
                }
            }
        }
        shared.last = Some((user, UserId::from_bytes([0xff; 16])));
    }
    Ok(shared)
}

fn place(slices: usize, number: u64) -> usize {
    let count = u64::try_from(slices).unwrap_or(u64::MAX).max(1);
    usize::try_from(number % count).unwrap_or_default()
}

/// Sends a message that carries its own way back. A full mailbox is an answer too, and at once.
async fn call<A, M, T>(
    actor: &Addr<A>,
    message: impl FnOnce(oneshot::Sender<T>) -> M,
) -> Result<T, Unavailable>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message<Result = ()> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    actor.try_send(message(reply)).map_err(|error| match error {
        actix::prelude::SendError::Full(_) => Unavailable::Overloaded,
        actix::prelude::SendError::Closed(_) => Unavailable::NotReady,
    })?;
    answer.await.map_err(|_| Unavailable::NotReady)
}
