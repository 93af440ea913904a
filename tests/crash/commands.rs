//! Commands drawn from a seed: few users, few identities and few values, so that they meet.

use std::sync::Arc;

use jcas::events::account::{Claimant, Seen};
use jcas::events::cell::Mark;
use jcas::events::codec;
use jcas::events::command::{
    AddLegacyHash, Caller, Command, NewClaim, Proof, Register, SetPassword, UpgradePassword,
};
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
use jcas::events::state::UserState;

use crate::sim_disk::Seeded;

/// Before the simulated clock's start.
pub(crate) const EARLY_MS: u64 = 1_700_000_000_000;

const USERS: usize = 6;
const IDENTITIES: usize = 5;

/// What is to be asked, before the identities it needs are held.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Of whom.
    pub(crate) user: UserId,
    /// What, with claims that know no rivals yet.
    pub(crate) command: Command,
    /// Who asks.
    pub(crate) caller: Caller,
    /// What the caller must have seen.
    pub(crate) if_seen: Option<Seen>,
}

/// The company that registers everybody.
pub(crate) fn shop() -> CompanyId {
    "shop".parse().unwrap()
}

/// A user by number.
pub(crate) fn user(number: usize) -> UserId {
    let byte = u8::try_from(number).unwrap();
    UserId::new(EARLY_MS + u64::from(byte), [byte; 10])
}

/// Every user there may be.
pub(crate) fn users() -> impl Iterator<Item = UserId> {
    (0..USERS).map(user)
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
pub(crate) fn cause(number: u64) -> Cause {
    let request = Some(KeyedDigest(u128::from(number).to_be_bytes()));
    let idempotency = Some(idempotency_key(number));
    Cause { company: Some(shop()), request, idempotency, ..Cause::default() }
}

/// What stands for the idempotency key of a command.
pub(crate) fn idempotency_key(number: u64) -> KeyedDigest {
    let digest = codec::digest(format!("call {number}").as_bytes());
    KeyedDigest(digest.0.first_chunk().copied().unwrap())
}

/// The command that a cause names.
pub(crate) fn number(cause: &Cause) -> Option<u64> {
    let KeyedDigest(bytes) = cause.request?;
    u64::try_from(u128::from_be_bytes(bytes)).ok()
}

/// What wraps the key that a command makes: bytes that are nowhere else.
pub(crate) fn wrapped(number: u64) -> [u8; 32] {
    codec::digest(format!("key {number}").as_bytes()).0
}

fn country(code: &str) -> Country {
    code.parse().unwrap()
}

/// A value of few, sealed anew each time.
fn sealed(random: &mut Seeded) -> Sealed {
    let value = u8::try_from(random.below(4)).unwrap();
    let mut bytes = vec![value; 40 + random.below(80)];
    bytes.extend_from_slice(&random.draw().to_be_bytes());
    Sealed { bytes: bytes.into(), fingerprint: Fingerprint([value; 16]) }
}

fn claim(random: &mut Seeded) -> NewClaim {
    let index = identity(random.below(IDENTITIES));
    let claim =
        IdentityClaimed { index, verified: random.chance(50), value: sealed(random), since: None };
    NewClaim { claim, rivals: Vec::new() }
}

fn legacy(random: &mut Seeded) -> AddLegacyHash {
    let country = country(["DE", "NG", "BR"][random.below(3)]);
    let slot = Slot { company: shop(), country };
    let changed = EARLY_MS - 1000 + u64::try_from(random.below(1000)).unwrap();
    let changed_at_unix_ms = random.chance(50).then_some(changed);
    AddLegacyHash { slot, hash: sealed(random), profile: None, changed_at_unix_ms }
}

fn fields(random: &mut Seeded) -> Vec<FieldChange> {
    let names = ["name", "city", "size"];
    let mut changes = Vec::new();
    for name in names.iter().take(1 + random.below(3)) {
        let value = (!random.chance(15)).then(|| sealed(random));
        changes.push(FieldChange { field: name.parse().unwrap(), value });
    }
    changes
}

fn register(random: &mut Seeded, number: u64) -> Register {
    let mut claims: Vec<NewClaim> = (0..=random.below(2)).map(|_| claim(random)).collect();
    claims.sort_by_key(|new| new.claim.index);
    claims.dedup_by_key(|new| new.claim.index);
    let key = UserKeyId(number.to_be_bytes());
    let wrapped = wrapped(number).into();
    Register {
        company: shop(),
        country: country("DE"),
        key: UserKeyCreated { key, branch: BranchKeyId([1; 16]), wrapped },
        claims,
        secret: random.chance(50).then(|| sealed(random)),
        legacy: random.chance(30).then(|| legacy(random)),
        profile: if random.chance(50) { fields(random) } else { Vec::new() },
    }
}

/// A standing credential of a user, as far as a reader sees.
fn credential(random: &mut Seeded, state: &UserState) -> Option<(Mark, Option<Slot>)> {
    let secret = state.secret.iter().map(|cell| (cell.mark, None));
    let legacy = state.legacy.iter().map(|(slot, cell)| (cell.mark, Some(*slot)));
    let all: Vec<_> = secret.chain(legacy).collect();
    all.get(random.below(all.len())).copied()
}

/// Draws a command on a user. `read` is what a reader sees of it now, `number` names the command.
pub(crate) fn draw(
    random: &mut Seeded,
    number: u64,
    read: impl FnOnce(UserId) -> Arc<UserState>,
) -> Wish {
    let user = user(random.below(USERS));
    let state = read(user);
    let new = state.registered.is_none() && !random.chance(10);
    let command = match random.below(24) {
        _ if new => Command::Register(register(random, number)),
        0 | 1 => Command::Register(register(random, number)),
        2 => Command::Join(["shop", "club"][random.below(2)].parse().unwrap()),
        3..=8 => Command::UpdateProfile(fields(random)),
        9..=11 => {
            let proof = credential(random, &state).filter(|_| random.chance(60));
            let proof = proof.map(|(mark, _)| Proof { user, mark });
            Command::SetPassword(SetPassword { secret: sealed(random), proof })
        }
        12 | 13 => match credential(random, &state) {
            Some((verified, slot)) => Command::UpgradePassword(UpgradePassword {
                verified,
                slot,
                lineage: Vec::new(),
                secret: sealed(random),
            }),
            None => Command::SetPassword(SetPassword { secret: sealed(random), proof: None }),
        },
        14..=16 => Command::AddLegacyHash(legacy(random)),
        17 | 18 => Command::ClaimIdentity(claim(random)),
        19 | 20 => Command::ReleaseIdentity(identity(random.below(IDENTITIES))),
        21 => Command::Disable,
        _ => Command::Enable,
    };
    let caller = match random.below(10) {
        0 => Caller::Company("club".parse().unwrap(), Policies::DEFAULT),
        1 => Caller::Operator,
        _ => Caller::Company(shop(), Policies::TRUSTED),
    };
    let if_seen = random.chance(8).then(|| Seen::of(user, &state));
    Wish { user, command, caller, if_seen }
}

/// A command that always changes a registered user.
pub(crate) fn touch(random: &mut Seeded, user: UserId) -> Wish {
    let fingerprint = Fingerprint((u128::from(random.draw()) << 64).to_be_bytes());
    let value = Some(Sealed { fingerprint, ..sealed(random) });
    let changes = vec![FieldChange { field: "touched".parse().unwrap(), value }];
    let command = Command::UpdateProfile(changes);
    Wish { user, command, caller: Caller::Operator, if_seen: None }
}

impl Wish {
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

/// Draws a command for the registry.
pub(crate) fn draw_registry(random: &mut Seeded) -> RegistryCommand {
    let company: CompanyId = ["shop", "club", "bank"][random.below(3)].parse().unwrap();
    let key = format!("key{}", random.below(4)).parse().unwrap();
    match random.below(4) {
        0 => RegistryCommand::PutCompany(CompanyRegistered {
            company,
            countries: vec![country(["DE", "NG", "BR"][random.below(3)])],
            signing: Signing::Optional,
        }),
        1 => {
            let policies = [Policies::DEFAULT, Policies::TRUSTED][random.below(2)];
            RegistryCommand::SetPolicies(PolicySet { company, policies })
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
