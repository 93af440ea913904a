//! Commands drawn from a seed: few users, few identities and few companies, so that they meet.

use std::sync::Arc;

use jcas::events::account::Claimant;
use jcas::events::cell::Mark;
use jcas::events::codec;
use jcas::events::command::{
    AddLegacyHash, Caller, Command, NewClaim, Proof, Register, SetPassword, UpgradePassword,
};
use jcas::events::decide_link::LinkCommand;
use jcas::events::decide_registry::RegistryCommand;
use jcas::events::event::{
    ApiKeyIssued, Cause, CompanyRegistered, FieldChange, IdentityClaimed, PolicySet, Sealed,
    UserKeyCreated,
};
use jcas::events::ids::{
    BlindIndex, BranchKeyId, CompanyId, Country, Fingerprint, IdentityKind, KeyedDigest, Slot,
    UserId, UserKeyId,
};
use jcas::events::policy::{Policies, Scope, Scopes, Signing};
use jcas::events::stamp::EventRef;
use jcas::events::state::UserState;

use crate::sim_disk::Seeded;

/// Before the simulated clocks' start.
pub(crate) const EARLY_MS: u64 = 1_700_000_000_000;

/// Most users of a run.
const USERS_MAX: usize = 7;

const IDENTITIES: usize = 4;

/// What is to be asked, before the identities it needs are held.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Of whom.
    pub(crate) user: UserId,
    /// What, with claims that know no rivals yet.
    pub(crate) command: Command,
    /// Who asks.
    pub(crate) caller: Caller,
}

/// What is to be said of two users.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkWish {
    pub(crate) one: UserId,
    pub(crate) other: UserId,
    /// What.
    pub(crate) command: LinkCommand,
    /// Who asks.
    pub(crate) caller: Caller,
}

/// What a command is drawn from.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    /// Everybody registered so far, anywhere.
    pub(crate) users: &'a [UserId],
    /// Names the command.
    pub(crate) number: u64,
    /// What time it is at the node.
    pub(crate) now_ms: u64,
}

/// The company that may do everything.
pub(crate) fn shop() -> CompanyId {
    "shop".parse().unwrap()
}

/// The company that nobody trusts, ever.
pub(crate) fn club() -> CompanyId {
    "club".parse().unwrap()
}

/// The company that is trusted now and then.
fn bank() -> CompanyId {
    "bank".parse().unwrap()
}

/// Every company.
pub(crate) fn companies() -> [CompanyId; 3] {
    [shop(), club(), bank()]
}

/// Every identity there may be.
pub(crate) fn identities() -> impl Iterator<Item = BlindIndex> {
    (0..IDENTITIES).map(identity)
}

fn identity(number: usize) -> BlindIndex {
    let kind = if number.is_multiple_of(2) { IdentityKind::Email } else { IdentityKind::Phone };
    BlindIndex { kind, version: 1, mac: codec::digest(&number.to_le_bytes()) }
}

/// The cause that names a command: every event of it can be told by it.
pub(crate) fn cause(number: u64, company: Option<CompanyId>) -> Cause {
    let request = Some(KeyedDigest(u128::from(number).to_be_bytes()));
    Cause { company, request, ..Cause::default() }
}

/// The command that a cause names.
pub(crate) fn number(cause: &Cause) -> Option<u64> {
    let KeyedDigest(bytes) = cause.request?;
    u64::try_from(u128::from_be_bytes(bytes)).ok()
}

fn country(random: &mut Seeded) -> Country {
    ["DE", "NG"][random.below(2)].parse().unwrap()
}

/// A sealed password. Which one it is can be told by [`password`].
fn sealed_password(random: &mut Seeded, password: u64) -> Sealed {
    let mut bytes = password.to_be_bytes().to_vec();
    bytes.extend_from_slice(&random.draw().to_be_bytes());
    bytes.extend_from_slice(&[1; 24]);
    Sealed { bytes: bytes.into(), fingerprint: Fingerprint(u128::from(password).to_be_bytes()) }
}

/// Which password a sealed one is.
pub(crate) fn password(sealed: &Sealed) -> u64 {
    sealed.bytes.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// A value of few, sealed anew each time.
fn sealed(random: &mut Seeded) -> Sealed {
    let value = u8::try_from(random.below(4)).unwrap();
    let mut bytes = vec![value; 30 + random.below(60)];
    bytes.extend_from_slice(&random.draw().to_be_bytes());
    Sealed { bytes: bytes.into(), fingerprint: Fingerprint([value; 16]) }
}

fn claim(random: &mut Seeded) -> NewClaim {
    let index = identity(random.below(IDENTITIES));
    let claim =
        IdentityClaimed { index, verified: random.chance(50), value: sealed(random), since: None };
    NewClaim { claim, rivals: Vec::new() }
}

fn legacy(random: &mut Seeded, ground: &Ground<'_>, company: CompanyId) -> AddLegacyHash {
    let slot = Slot { company, country: country(random) };
    let changed_at_unix_ms = random.chance(50).then(|| {
        // Also times later than now, which count as now.
        (ground.now_ms + 2000).saturating_sub(random.draw() % 40_000)
    });
    let hash = sealed_password(random, ground.number);
    AddLegacyHash { slot, hash, profile: None, changed_at_unix_ms }
}

fn fields(random: &mut Seeded) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for name in ["name", "city"].iter().take(1 + random.below(2)) {
        let value = (!random.chance(15)).then(|| sealed(random));
        changes.push(FieldChange { field: name.parse().unwrap(), value });
    }
    changes
}

fn register(random: &mut Seeded, ground: &Ground<'_>, company: CompanyId) -> Register {
    let mut claims: Vec<NewClaim> = (0..=random.below(2)).map(|_| claim(random)).collect();
    claims.sort_by_key(|new| new.claim.index);
    claims.dedup_by_key(|new| new.claim.index);
    let key = UserKeyId(ground.number.to_be_bytes());
    let wrapped = codec::digest(&ground.number.to_be_bytes()).0.into();
    let secret = random.chance(50).then(|| sealed_password(random, ground.number));
    let legacy = (secret.is_none() && random.chance(70)).then(|| legacy(random, ground, company));
    Register {
        company,
        country: country(random),
        key: UserKeyCreated { key, branch: BranchKeyId([1; 16]), wrapped },
        claims,
        secret,
        legacy,
        profile: if random.chance(30) { fields(random) } else { Vec::new() },
    }
}

/// A credential that counts, as a login at this node would find it.
struct Found {
    mark: Mark,
    slot: Option<Slot>,
    lineage: Vec<EventRef>,
    password: u64,
}

fn credential(random: &mut Seeded, user: UserId, state: &UserState) -> Option<Found> {
    let users = [(user, state)].into_iter().collect();
    let account = jcas::events::account::Account::of(&users);
    let all = account.credentials(None);
    let found = all.get(random.below(all.len()))?;
    Some(Found {
        mark: found.mark,
        slot: found.slot,
        lineage: found.credential.lineage.clone(),
        password: password(&found.credential.hash),
    })
}

/// Draws a command on a user. `read` is what a reader at the node sees, `policies` what the node
/// lets a company do.
pub(crate) fn draw(
    random: &mut Seeded,
    ground: Ground<'_>,
    mut read: impl FnMut(UserId) -> Arc<UserState>,
    policies: impl Fn(CompanyId) -> Policies,
) -> Wish {
    let company = [shop(), shop(), club(), bank()][random.below(4)];
    let caller = match random.below(10) {
        0 => Caller::Operator,
        _ => Caller::Company(company, policies(company)),
    };
    let new = ground.users.is_empty() || (ground.users.len() < USERS_MAX && random.chance(15));
    if new {
        let register = register(random, &ground, company);
        let mut tail = [0; 10];
        for (place, byte) in tail.iter_mut().zip(random.draw().to_be_bytes()) {
            *place = byte;
        }
        tail[9] = u8::try_from(random.below(256)).unwrap();
        let user = UserId::new(ground.now_ms, tail);
        return Wish { user, command: Command::Register(register), caller };
    }
    let user = ground.users[random.below(ground.users.len())];
    let state = read(user);
    let command = existing(random, &ground, company, user, &state);
    Wish { user, command, caller }
}

/// Draws something to be said of two users: few of all, so that rings and lines come about. Whom
/// the system links and who is taken apart are those whom it is of some use with, if there are any.
pub(crate) fn draw_link(
    random: &mut Seeded,
    users: &[UserId],
    mut read: impl FnMut(UserId) -> Arc<UserState>,
    policies: impl Fn(CompanyId) -> Policies,
) -> LinkWish {
    let [mut one, mut other] = [(); 2].map(|()| users[random.below(users.len())]);
    let company = [shop(), shop(), club(), bank()][random.below(4)];
    let caller = match random.below(6) {
        0 => Caller::Operator,
        _ => Caller::Company(company, policies(company)),
    };
    let command = match random.below(10) {
        0..5 => LinkCommand::Link,
        5..8 => LinkCommand::Unlink,
        8 => LinkCommand::LinkByItself,
        _ => LinkCommand::Decline,
    };
    let states: Vec<_> = users.iter().map(|user| (*user, read(*user))).collect();
    let pairs = states.iter().flat_map(|one| states.iter().map(move |other| (one, other)));
    let useful = pairs.filter(|((one, state), (other, with))| match command {
        LinkCommand::LinkByItself => one < other && share_verified(state, with),
        LinkCommand::Unlink => state.linked().any(|linked| linked == *other),
        LinkCommand::Link | LinkCommand::Decline => false,
    });
    let useful: Vec<_> = useful.map(|((one, _), (other, _))| (*one, *other)).collect();
    if !useful.is_empty() {
        (one, other) = useful[random.below(useful.len())];
    }
    LinkWish { one, other, command, caller }
}

fn share_verified(one: &UserState, other: &UserState) -> bool {
    one.identities().any(|(index, claims)| {
        let shared = other.claims.get(index).is_some_and(|it| it.is_live() && it.is_verified());
        index.kind == IdentityKind::Email && claims.is_verified() && shared
    })
}

fn existing(
    random: &mut Seeded,
    ground: &Ground<'_>,
    company: CompanyId,
    user: UserId,
    state: &UserState,
) -> Command {
    let set = |random: &mut Seeded, proof| {
        let secret = sealed_password(random, ground.number);
        Command::SetPassword(SetPassword { secret, proof })
    };
    match random.below(30) {
        0 => Command::Join(company),
        1 if random.chance(20) => Command::Erase,
        4..=6 => {
            let proof = credential(random, user, state).filter(|_| random.chance(50));
            set(random, proof.map(|found| Proof { user, mark: found.mark }))
        }
        7..=11 => match credential(random, user, state) {
            Some(found) => Command::UpgradePassword(UpgradePassword {
                verified: found.mark,
                slot: found.slot,
                lineage: found.lineage,
                secret: sealed_password(random, found.password),
            }),
            None => set(random, None),
        },
        12..=16 => Command::AddLegacyHash(legacy(random, ground, company)),
        17..=19 => Command::ClaimIdentity(claim(random)),
        20..=22 => Command::ReleaseIdentity(identity(random.below(IDENTITIES))),
        23..=25 => Command::Disable,
        26..=28 => Command::Enable,
        _ => Command::UpdateProfile(fields(random)),
    }
}

impl Wish {
    /// The company that asks.
    pub(crate) const fn company(&self) -> Option<CompanyId> {
        match self.caller {
            Caller::Company(company, _) => Some(company),
            Caller::Operator | Caller::System => None,
        }
    }

    /// The identities that must be held before it is asked.
    pub(crate) fn needs(&self) -> Vec<BlindIndex> {
        let mut indexes: Vec<BlindIndex> = match &self.command {
            Command::Register(register) => {
                register.claims.iter().map(|it| it.claim.index).collect()
            }
            Command::ClaimIdentity(new) => vec![new.claim.index],
            Command::ReleaseIdentity(index) => vec![*index],
            _ => Vec::new(),
        };
        indexes.sort_unstable();
        indexes
    }

    /// Tells the claim of an identity who claims it.
    pub(crate) fn put_rivals(&mut self, index: BlindIndex, rivals: &[Claimant]) {
        let claims = match &mut self.command {
            Command::Register(register) => register.claims.iter_mut().collect(),
            Command::ClaimIdentity(new) => vec![new],
            _ => Vec::new(),
        };
        for new in claims {
            if new.claim.index == index {
                new.rivals = rivals.to_vec();
            }
        }
    }
}

/// What is set up first, once: the companies, and who is trusted.
pub(crate) fn founding() -> Vec<RegistryCommand> {
    let mut commands = Vec::new();
    for company in companies() {
        commands.push(put_company(company, "DE"));
        if company == shop() {
            let policies = Policies::TRUSTED;
            commands.push(RegistryCommand::SetPolicies(PolicySet { company, policies }));
        }
    }
    commands
}

fn put_company(company: CompanyId, country: &str) -> RegistryCommand {
    let countries = vec![country.parse().unwrap()];
    RegistryCommand::PutCompany(CompanyRegistered {
        company,
        countries,
        signing: Signing::Optional,
    })
}

/// Draws a command for the registry. Nobody ever trusts the club.
pub(crate) fn draw_registry(random: &mut Seeded) -> RegistryCommand {
    let company = companies()[random.below(3)];
    let key = format!("key{}", random.below(4)).parse().unwrap();
    match random.below(4) {
        0 => put_company(company, ["DE", "NG"][random.below(2)]),
        1 => {
            let policies = [Policies::DEFAULT, Policies::TRUSTED][random.below(2)];
            RegistryCommand::SetPolicies(PolicySet { company: bank(), policies })
        }
        2 => RegistryCommand::IssueKey(ApiKeyIssued {
            company,
            key,
            digest: [3; 32],
            scopes: Scopes::new([Scope::Login]),
            expires_unix_ms: None,
            signing: None,
        }),
        _ => RegistryCommand::RevokeKey(company, key),
    }
}
