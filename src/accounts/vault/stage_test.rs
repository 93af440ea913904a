//! What the vault's tests play on: regions with master keys, a KMS that answers as it is told, a
//! registry in memory, and a clock that is set.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::records::{Answer, KeyRecords, WrappedKeys};
use super::{KeyFailure, Vault, VaultParts};
use crate::actors::Unavailable;
use crate::actors::registry::{RegistryFailure, RegistryView};
use crate::clock::Clock;
use crate::events::command::Outcome;
use crate::events::decide_registry::{RegistryCommand, decide_registry};
use crate::events::event::{BranchKeyWrapped, Cause, UserKeyCreated};
use crate::events::ids::{BranchKeyId, DeploymentId, Digest, RegionId, UserId};
use crate::events::record::Fact;
use crate::events::stamp::{Incarnation, Origin, Revision};
use crate::kms::guard::{Call, Care, Guarded};
use crate::kms::local::{LocalKms, WrappingSecret};
use crate::kms::{EncryptionContext, KeyMaterial, Kms, KmsError, KmsFuture, Purpose, Sight};

pub(super) const REGIONS: [&str; 3] = ["asia", "eu", "us"];
pub(super) const DAY: Duration = Duration::from_hours(24);
/// After how long the KMS is asked again for a key in memory.
pub(super) const KEPT: Duration = Duration::from_hours(8);
/// How long a branch key is used for new users.
pub(super) const LIFETIME: Duration = Duration::from_hours(30 * 24);

const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

pub(super) fn region(name: &str) -> RegionId {
    name.parse().unwrap()
}

/// A clock that is set.
pub(super) struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.unix_ms())
    }
}

/// How a region's KMS answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Answers,
    Silent,
    Refuses,
    /// It answers when it is let.
    Waits,
}

/// A region's master keys, and how its KMS is.
pub(super) struct RegionKms {
    /// The newest last.
    masters: Vec<u8>,
    manner: Manner,
    wraps: u64,
    unwraps: u64,
}

/// All regions' KMS.
pub(super) struct World {
    regions: Mutex<BTreeMap<RegionId, RegionKms>>,
    gate: Semaphore,
}

impl World {
    fn secrets(&self, of: RegionId) -> Vec<WrappingSecret> {
        let regions = self.regions.lock().unwrap();
        let first = u8::try_from(regions.keys().position(|it| *it == of).unwrap()).unwrap();
        let masters = regions[&of].masters.iter().rev();
        masters.map(|master| WrappingSecret::from_seed(&[first * 50 + master; 32])).collect()
    }

    /// As a node of a region has it: the master keys of now, and its own of before.
    fn backend(&self, own: RegionId) -> LocalKms {
        let names: Vec<_> = self.regions.lock().unwrap().keys().copied().collect();
        let public = names.iter().map(|name| (*name, self.secrets(*name)[0].public()));
        let mut secrets = self.secrets(own).into_iter();
        LocalKms::new(own, secrets.next().unwrap(), public.collect::<Vec<_>>()).with_former(secrets)
    }

    async fn answer(&self, region: RegionId, call: Call) -> Result<(), KmsError> {
        let manner = {
            let mut regions = self.regions.lock().unwrap();
            let kms = regions.get_mut(&region).unwrap();
            match call {
                Call::Wrap => kms.wraps += 1,
                Call::Unwrap => kms.unwraps += 1,
            }
            kms.manner
        };
        match manner {
            Manner::Answers => Ok(()),
            Manner::Silent => Err(KmsError::Unavailable { region, source: "silent".into() }),
            Manner::Refuses => Err(KmsError::Refused { region, source: "disabled".into() }),
            Manner::Waits => {
                self.gate.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    }
}

struct Played {
    world: Arc<World>,
    backend: LocalKms,
}

impl Kms for Played {
    fn region(&self) -> RegionId {
        self.backend.region()
    }

    fn wrap_key<'a>(
        &'a self,
        region: RegionId,
        key: &'a KeyMaterial,
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, Box<[u8]>> {
        Box::pin(async move {
            self.world.answer(region, Call::Wrap).await?;
            self.backend.wrap_key(region, key, context).await
        })
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, KeyMaterial> {
        Box::pin(async move {
            self.world.answer(self.region(), Call::Unwrap).await?;
            self.backend.unwrap_key(wrapped, context).await
        })
    }

    fn sight(&self, wrapped: &[u8], context: &EncryptionContext) -> Sight {
        self.backend.sight(wrapped, context)
    }
}

/// What was recorded, and what it folds to: of all regions, at once.
#[derive(Default)]
pub(super) struct Books {
    facts: Mutex<Vec<Fact>>,
    view: Mutex<Arc<RegistryView>>,
    users: Mutex<BTreeMap<UserId, UserKeyCreated>>,
}

impl Books {
    fn fold(&self, fact: Fact) {
        let mut view = self.view.lock().unwrap();
        let mut state = view.state.clone();
        state.evolve(&fact);
        *view = Arc::new(RegistryView::new(state));
        self.facts.lock().unwrap().push(fact);
    }

    /// Takes in what others recorded elsewhere.
    pub(super) fn absorb(&self, other: &Self) {
        let theirs = other.facts.lock().unwrap().clone();
        for fact in theirs {
            self.fold(fact);
        }
    }

    /// The branch keys that were recorded.
    pub(super) fn keys(&self) -> Vec<BranchKeyId> {
        self.view.lock().unwrap().state.branch_keys.keys().copied().collect()
    }
}

/// The books as one node writes them.
struct NodeBooks {
    books: Arc<Books>,
    origin: Origin,
    clock: Arc<SetClock>,
}

impl KeyRecords for NodeBooks {
    fn registry(&self) -> Arc<RegistryView> {
        Arc::clone(&self.books.view.lock().unwrap())
    }

    fn read_keys(&self, user: UserId) -> Answer<'_, WrappedKeys, Unavailable> {
        let found = self.books.users.lock().unwrap().get(&user).cloned();
        Box::pin(async move { Ok(found.into_iter().map(|key| (key.key, key)).collect()) })
    }

    fn administer(&self, command: RegistryCommand) -> Answer<'_, Outcome, RegistryFailure> {
        Box::pin(async move {
            // A later reading with each event, and another one at each node.
            let number = self.books.facts.lock().unwrap().len();
            let at = Revision::from_unix_ms(self.clock.unix_ms()).to_bits();
            let now = Revision::from_bits(at + u64::try_from(number).unwrap());
            let state = self.registry().state.clone();
            let (drafts, outcome) = decide_registry(&state, command, now, Cause::default())?;
            for draft in drafts {
                let mut digest = [self.origin.region.as_str().as_bytes()[0]; 32];
                digest[..8].copy_from_slice(&number.to_be_bytes());
                self.books.fold(Fact::pending(draft, self.origin, Digest(digest)));
            }
            Ok(outcome)
        })
    }
}

/// Everything a test has.
pub(super) struct Stage {
    pub(super) clock: Arc<SetClock>,
    pub(super) books: Arc<Books>,
    world: Arc<World>,
    runtime: tokio::runtime::Runtime,
    users: AtomicU64,
}

impl Stage {
    pub(super) fn new() -> Self {
        let kms = || RegionKms { masters: vec![1], manner: Manner::Answers, wraps: 0, unwraps: 0 };
        let regions = REGIONS.iter().map(|name| (region(name), kms())).collect();
        let gate = Semaphore::new(0);
        Self {
            clock: Arc::new(SetClock(AtomicU64::new(1_700_000_000_000))),
            books: Arc::default(),
            world: Arc::new(World { regions: Mutex::new(regions), gate }),
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap(),
            users: AtomicU64::new(0),
        }
    }

    /// A node of a region as it starts: nothing is in its memory.
    pub(super) fn node(&self, name: &str) -> Vault {
        self.node_with(name, &self.books)
    }

    /// One that knows what these books say.
    pub(super) fn node_with(&self, name: &str, books: &Arc<Books>) -> Vault {
        let incarnation = Incarnation { counter: 1, tag: 1 };
        let origin = Origin { region: region(name), node: "n1".parse().unwrap(), incarnation };
        let world = Arc::clone(&self.world);
        let backend = world.backend(origin.region);
        let care = Care {
            deadline: Duration::from_mins(1),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(1),
        };
        let clock: Arc<dyn Clock> = Arc::<SetClock>::clone(&self.clock);
        Vault::new(VaultParts {
            deployment: DEPLOYMENT,
            origin,
            kms: Guarded::new(Arc::new(Played { world, backend }), care, Arc::clone(&clock)),
            regions: REGIONS.map(region).to_vec(),
            records: Arc::new(NodeBooks {
                books: Arc::clone(books),
                origin,
                clock: Arc::clone(&self.clock),
            }),
            clock,
            cached_users: 0,
            branch_lifetime_ms: u64::try_from(LIFETIME.as_millis()).unwrap(),
            branch_kept: KEPT,
        })
    }

    pub(super) fn run<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }

    pub(super) fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(super) fn set(&self, names: &[&str], manner: Manner) {
        let mut regions = self.world.regions.lock().unwrap();
        for name in names {
            regions.get_mut(&region(name)).unwrap().manner = manner;
        }
    }

    /// Lets so many calls be answered that wait.
    pub(super) fn let_answer(&self, calls: usize) {
        self.world.gate.add_permits(calls);
    }

    /// A new master key for a region: nodes have it from their next start on.
    pub(super) fn rotate(&self, name: &str) {
        let mut regions = self.world.regions.lock().unwrap();
        let masters = &mut regions.get_mut(&region(name)).unwrap().masters;
        masters.push(masters.last().unwrap() + 1);
    }

    /// Removes a region's master keys of before.
    pub(super) fn finish(&self, name: &str) {
        let mut regions = self.world.regions.lock().unwrap();
        let masters = &mut regions.get_mut(&region(name)).unwrap().masters;
        masters.drain(..masters.len() - 1);
    }

    /// The calls at a region's KMS so far: to wrap, to open.
    pub(super) fn calls(&self, name: &str) -> (u64, u64) {
        let regions = self.world.regions.lock().unwrap();
        let kms = &regions[&region(name)];
        (kms.wraps, kms.unwraps)
    }

    /// Registers a user.
    pub(super) fn register(&self, vault: &Vault) -> Result<UserId, KeyFailure> {
        let number = self.users.fetch_add(1, Ordering::SeqCst);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let user = UserId::new(self.clock.unix_ms(), random);
        let (_, created) = self.run(vault.new_user_key(user))?;
        self.books.users.lock().unwrap().insert(user, created);
        Ok(user)
    }

    /// Whether a node opens a user's key: no user's key is kept in memory.
    pub(super) fn opens(&self, vault: &Vault, user: UserId) -> Result<(), KeyFailure> {
        self.run(vault.keys_of(user)).map(drop)
    }

    /// A node opens all these users' keys.
    #[track_caller]
    pub(super) fn opens_all(&self, vault: &Vault, users: &[UserId]) {
        for user in users {
            self.opens(vault, *user).unwrap();
        }
    }

    /// What a key is wrapped into for a region by the master key that another node knows.
    pub(super) fn wrapped(
        &self,
        by: &str,
        name: &str,
        key: &[u8; 32],
        id: BranchKeyId,
    ) -> Box<[u8]> {
        let context =
            EncryptionContext { deployment: DEPLOYMENT, purpose: Purpose::BranchKey, key: id };
        let backend = self.world.backend(region(by));
        self.run(backend.wrap_key(region(name), &KeyMaterial::new(key), &context)).unwrap()
    }

    /// Records a wrapping, as somebody may who writes the log.
    pub(super) fn slip_in(&self, id: BranchKeyId, name: &str, wrapped: Box<[u8]>) {
        self.pass(Duration::from_millis(1));
        let origin = self.node("us").parts.origin;
        let (books, clock) = (Arc::clone(&self.books), Arc::clone(&self.clock));
        let wrapped = BranchKeyWrapped { key: id, region: region(name), wrapped };
        let command = RegistryCommand::RenewBranchKey(wrapped);
        self.run(NodeBooks { books, origin, clock }.administer(command)).unwrap();
        self.pass(Duration::from_millis(1));
    }
}
