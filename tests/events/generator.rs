//! Makes sets of facts as several regions would record them: few users, companies and origins, few
//! readings of the clock, so that what rarely meets meets often.
//!
//! A case is a list of steps. `History::of` records them with real headers and bodies, so that what
//! is folded went through the codec.

use std::collections::BTreeMap;

use jcas::events::codec;
use jcas::events::event::*;
use jcas::events::ids::{BranchKeyId, Digest, HashProfileId, UserId, UserKeyId};
use jcas::events::pair::Pair;
use jcas::events::policy::{Policies, Scope, Scopes, Signing};
use jcas::events::record::{Fact, Header, Record, Register, Subject};
use jcas::events::stamp::{EffectiveTime, EventRef, Incarnation, Origin, Revision, Stamp};
use proptest::prelude::*;

use crate::fixtures::*;

/// Users of a case.
pub(crate) const USERS: u8 = 3;

/// Lives of nodes of a case: the last one is a second life of the first.
pub(crate) const LIVES: u8 = 3;

/// One event to record.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    life: u8,
    user: u8,
    at_ms: u64,
    when: When,
    what: What,
}

/// When an event counts as made.
#[derive(Debug, Clone, Copy)]
enum When {
    Now,
    Lowest,
    At(u64),
}

/// What happened. Numbers pick one of few.
#[derive(Debug, Clone)]
enum What {
    Register(u8),
    Member { company: u8, joined: bool },
    Claim { identity: u8, verified: bool },
    Release { identity: u8 },
    Password,
    Legacy { slot: u8 },
    Upgrade { of: usize, in_two_regions: bool },
    Profile(Vec<(u8, Option<u8>)>),
    Disable,
    Enable { seen: u8 },
    Key(u8),
    Erase,
    Confirm,
    Link { automatic: bool },
    Unlink { floor_ms: Option<u64> },
    Decline,
    Company(u8),
    Policy(u8),
    ApiKey { key: u8, revoked: bool },
    HashProfile { name: u8, content: u8 },
    Opened,
    BranchKey { key: u8, regions: u8 },
    BranchWrapped { key: u8, region: u8 },
    Distrust { life: u8, from: u64 },
}

fn whats() -> impl Strategy<Value = What> {
    let of_user = prop_oneof![
        4 => (0..2_u8).prop_map(What::Register),
        3 => (0..2_u8, any::<bool>())
            .prop_map(|(company, joined)| What::Member { company, joined }),
        9 => (0..3_u8, any::<bool>())
            .prop_map(|(identity, verified)| What::Claim { identity, verified }),
        4 => (0..3_u8).prop_map(|identity| What::Release { identity }),
        4 => Just(What::Password),
        8 => (0..3_u8).prop_map(|slot| What::Legacy { slot }),
        7 => (any::<usize>(), any::<bool>())
            .prop_map(|(of, in_two_regions)| What::Upgrade { of, in_two_regions }),
        5 => prop::collection::vec((0..3_u8, prop::option::of(0..3_u8)), 1..4)
            .prop_map(What::Profile),
        4 => Just(What::Disable),
        3 => (0..8_u8).prop_map(|seen| What::Enable { seen }),
        4 => (0..2_u8).prop_map(What::Key),
        1 => Just(What::Erase),
        1 => Just(What::Confirm),
    ];
    let between_users = prop_oneof![
        3 => any::<bool>().prop_map(|automatic| What::Link { automatic }),
        3 => prop::option::of(1..12_u64).prop_map(|floor_ms| What::Unlink { floor_ms }),
        1 => Just(What::Decline),
    ];
    let of_deployment = prop_oneof![
        (0..2_u8).prop_map(What::Company),
        (0..2_u8).prop_map(What::Policy),
        (0..2_u8, any::<bool>()).prop_map(|(key, revoked)| What::ApiKey { key, revoked }),
        (0..2_u8, 0..3_u8).prop_map(|(name, content)| What::HashProfile { name, content }),
        Just(What::Opened),
        (0..2_u8, 0..4_u8).prop_map(|(key, regions)| What::BranchKey { key, regions }),
        (0..2_u8, 0..2_u8).prop_map(|(key, region)| What::BranchWrapped { key, region }),
        (0..LIVES, 1..8_u64).prop_map(|(life, from)| What::Distrust { life, from }),
    ];
    prop_oneof![10 => of_user, 2 => between_users, 2 => of_deployment]
}

/// Any list of steps, recorded in the order of their readings.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let when = prop_oneof![
        3 => Just(When::Now),
        2 => Just(When::Lowest),
        2 => (1..10_u64).prop_map(When::At),
    ];
    let step = (0..LIVES, 0..USERS, 1..10_u64, when, whats());
    let step =
        step.prop_map(|(life, user, at_ms, when, what)| Step { life, user, at_ms, when, what });
    prop::collection::vec(step, 1..56).prop_map(|mut steps| {
        steps.sort_by_key(|step| step.at_ms);
        steps
    })
}

/// The life with this number.
pub(crate) fn life_of(number: u8) -> Origin {
    match number {
        0 => life("eu/n1", 1),
        1 => life("af/n1", 1),
        _ => life("eu/n1", 2),
    }
}

/// What the steps of a case come to.
#[derive(Debug)]
pub(crate) struct History {
    /// The events as they are stored.
    pub(crate) records: Vec<Record>,
    /// The same as the fold takes them.
    pub(crate) facts: Vec<Fact>,
    /// Which credential each upgrade comes from, by where the events stand.
    pub(crate) upgraded_from: BTreeMap<EventRef, EventRef>,
}

impl History {
    /// Records the steps.
    pub(crate) fn of(steps: &[Step]) -> Self {
        let mut recorder = Recorder::default();
        for step in steps {
            recorder.step(step);
        }
        let Recorder { records, facts, upgraded_from, .. } = recorder;
        Self { records, facts, upgraded_from }
    }

    /// The users that some fact erases.
    pub(crate) fn erased(&self) -> Vec<UserId> {
        let erasing = self.facts.iter().filter(|fact| fact.register == Register::Erasure);
        erasing.filter_map(user_of).collect()
    }
}

/// The user a fact is about, if it is about one.
pub(crate) fn user_of(fact: &Fact) -> Option<UserId> {
    match fact.subject {
        Subject::User(user) => Some(user),
        _ => None,
    }
}

#[derive(Default)]
struct Recorder {
    records: Vec<Record>,
    facts: Vec<Fact>,
    upgraded_from: BTreeMap<EventRef, EventRef>,
    heads: BTreeMap<Origin, (u64, Digest)>,
}

impl Recorder {
    fn step(&mut self, step: &Step) {
        let of = user(step.user);
        let subject = Subject::User(of);
        let pair = Pair::new(of, user((step.user + 1) % USERS)).unwrap();
        let shop = company(if step.user == 0 { "shop" } else { "cafe" });
        let number = |n: u8| company(if n == 0 { "shop" } else { "cafe" });
        let value = |clear: &str| sealed(&format!("{of} {clear}"));
        match &step.what {
            What::Register(by) => {
                let country = country("NG");
                let event = UserRegistered { company: number(*by), country };
                self.record(step, subject, &Event::UserRegistered(event));
            }
            What::Member { company, joined: true } => {
                self.record(step, subject, &Event::CompanyJoined(number(*company)));
            }
            What::Member { company, joined: false } => {
                self.record(step, subject, &Event::CompanyLeft(number(*company)));
            }
            What::Claim { identity, verified } => {
                self.record(step, subject, &claimed(identity_of(*identity), *verified));
            }
            What::Release { identity } => {
                self.record(step, subject, &released(identity_of(*identity)));
            }
            What::Password => {
                let secret = value("secret");
                let event = Event::PasswordSet(PasswordSet { secret, upgrade: None });
                // A password is always set now: only upgrades carry another time.
                self.record(&Step { when: When::Now, ..step.clone() }, subject, &event);
            }
            What::Legacy { slot: at } => {
                let at = ["shop/NG", "shop/KE", "cafe/NG"][usize::from(*at)];
                self.record(step, subject, &legacy_added(at, "old"));
            }
            What::Upgrade { of, in_two_regions } => self.upgrade(step, *of, *in_two_regions),
            What::Profile(changes) => {
                let change = |(name, to): &(u8, Option<u8>)| FieldChange {
                    field: field(["given_name", "locale", "address"][usize::from(*name)]),
                    value: to.map(|to| value(&to.to_string())),
                };
                let changes = changes.iter().map(change).collect();
                self.record(step, subject, &Event::ProfileUpdated(changes));
            }
            What::Disable => self.record(step, subject, &Event::UserDisabled(())),
            What::Enable { seen } => self.enable(step, subject, *seen),
            What::Key(key) => {
                let event = UserKeyCreated { key: UserKeyId([*key; 8]), ..key_of(step) };
                self.record(step, subject, &Event::UserKeyCreated(event));
            }
            What::Erase => self.record(step, subject, &Event::UserErased(())),
            What::Confirm => self.record(step, subject, &Event::ErasureConfirmed(())),
            What::Link { automatic } => {
                let linked = UsersLinked { pair, automatic: *automatic };
                self.record(step, Subject::Pair(pair), &Event::UsersLinked(linked));
            }
            What::Unlink { floor_ms } => {
                let floor = |ms: u64| Stamp {
                    effective: EffectiveTime::at(at(ms)),
                    revision: at(ms),
                    origin: life_of(step.life),
                    generation: 0,
                };
                let floors = floor_ms.iter().map(|ms| (of, floor(*ms))).collect();
                let unlinked = UsersUnlinked { pairs: vec![pair], floors };
                self.record(step, Subject::Pair(pair), &Event::UsersUnlinked(unlinked));
            }
            What::Decline => self.record(step, Subject::Pair(pair), &Event::LinkDeclined(pair)),
            what => {
                let (subject, event) = of_deployment(step, what, shop);
                self.record(step, subject, &event);
            }
        }
    }

    /// Enables and lifts what was seen of each life's disablings: those of a life with its bit set.
    fn enable(&mut self, step: &Step, subject: Subject, seen: u8) {
        let mut lifts: BTreeMap<Origin, Revision> = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| fact.subject == subject) {
            let of_life =
                |life: &u8| seen & (1 << life) != 0 && life_of(*life) == fact.reference.origin;
            if fact.event == Some(Event::UserDisabled(())) && (0..LIVES).any(|life| of_life(&life))
            {
                lifts.insert(fact.reference.origin, fact.revision);
            }
        }
        self.record(step, subject, &Event::UserEnabled(lifts.into_iter().collect()));
    }

    /// Upgrades one of the credentials recorded so far, at one node or at two.
    fn upgrade(&mut self, step: &Step, of: usize, in_two_regions: bool) {
        let credentials: Vec<_> = self.facts.iter().filter(|fact| is_credential(fact)).collect();
        let Some(from) = credentials.get(of % credentials.len().max(1)) else { return };
        let (subject, verified, reference) = (from.subject, from.stamp, from.reference);
        let mut lineage = match &from.event {
            Some(Event::PasswordSet(PasswordSet { upgrade: Some(up), .. })) => up.lineage.clone(),
            _ => Vec::new(),
        };
        lineage.push(reference);
        let upgrade = Some(Upgrade { verified, lineage });
        let event = Event::PasswordSet(PasswordSet { secret: sealed("better"), upgrade });
        for life in
            [step.life, (step.life + 1) % LIVES].iter().take(1 + usize::from(in_two_regions))
        {
            let there = Step { life: *life, ..step.clone() };
            self.record_at(&there, subject, verified.effective, &event);
            let upgraded = self.facts.last().unwrap().reference;
            self.upgraded_from.insert(upgraded, reference);
        }
    }

    fn record(&mut self, step: &Step, subject: Subject, event: &Event) {
        let effective = match step.when {
            When::Now => EffectiveTime::at(at(step.at_ms)),
            When::Lowest => EffectiveTime::LOWEST,
            When::At(ms) => EffectiveTime::claimed(ms, at(step.at_ms)),
        };
        self.record_at(step, subject, effective, event);
    }

    fn record_at(
        &mut self,
        step: &Step,
        subject: Subject,
        effective: EffectiveTime,
        event: &Event,
    ) {
        let origin = life_of(step.life);
        let (sequence, previous) = self.heads.get(&origin).copied().unwrap_or((0, Digest::ZERO));
        let mut nonce = [0; codec::NONCE_BYTES];
        nonce.split_at_mut(8).0.copy_from_slice(&(self.facts.len() as u64).to_be_bytes());
        let (body, digest) = codec::encode_body(nonce, event).unwrap();
        let header = Header {
            deployment: DEPLOYMENT,
            origin,
            sequence: sequence + 1,
            previous,
            subject,
            register: event.register(),
            revision: at(step.at_ms),
            effective,
            cause: Cause::default(),
            kind: event.kind(),
            schema: codec::schema(),
            body: digest,
        };
        let bytes = codec::encode_header(&header).unwrap();
        self.heads.insert(origin, (sequence + 1, codec::digest(&bytes)));
        let record = Record { header: bytes, body: Some(body) };
        let (decoded, fact) = codec::decode_record(&record).unwrap();
        assert_eq!((decoded, fact.event.as_ref()), (header, Some(event)), "what was recorded");
        self.records.push(record);
        self.facts.push(fact);
    }
}

/// Whether a fact writes a credential.
pub(crate) fn is_credential(fact: &Fact) -> bool {
    matches!(fact.event, Some(Event::PasswordSet(_) | Event::LegacyHashAdded(_)))
}

fn key_of(step: &Step) -> UserKeyCreated {
    key(step.user)
}

fn identity_of(number: u8) -> &'static str {
    ["ada@x.ng", "a.l@y.ke", "+234"][usize::from(number)]
}

fn of_deployment(step: &Step, what: &What, of: jcas::events::ids::CompanyId) -> (Subject, Event) {
    let at = u8::try_from(step.at_ms).unwrap();
    let region = |n: u8| ["eu", "af"][usize::from(n)].parse().unwrap();
    let branch = |key: u8| BranchKeyId([key; 16]);
    let event = match what {
        What::Company(countries) => Event::CompanyRegistered(CompanyRegistered {
            company: of,
            countries: (0..*countries).map(|_| country("KE")).collect(),
            signing: Signing::Required,
        }),
        What::Policy(trusted) => Event::PolicySet(PolicySet {
            company: of,
            policies: if *trusted == 0 { Policies::DEFAULT } else { Policies::TRUSTED },
        }),
        What::ApiKey { key, revoked: false } => Event::ApiKeyIssued(ApiKeyIssued {
            company: of,
            key: format!("k{key}").parse().unwrap(),
            digest: [*key; 32],
            scopes: Scopes::new([Scope::Login]),
            expires_unix_ms: None,
            signing: Some(SigningKey::EdDsa([at; 32])),
        }),
        What::ApiKey { key, revoked: true } => Event::ApiKeyRevoked(ApiKeyRevoked {
            company: of,
            key: format!("k{key}").parse().unwrap(),
        }),
        What::HashProfile { name, content } => Event::HashProfileDeclared(HashProfileDeclared {
            slot: slot(if step.user == 0 { "shop/NG" } else { "cafe/NG" }),
            name: format!("p{name}").parse().unwrap(),
            id: HashProfileId([*content; 16]),
            branch: branch(0),
            sealed: [at; 4].into(),
        }),
        What::BranchKey { key, regions } => Event::BranchKeyCreated(BranchKeyCreated {
            key: branch(*key),
            wrapped: (0..2)
                .filter(|n| regions & (1 << n) != 0)
                .map(|n| (region(n), [at; 3].into()))
                .collect(),
        }),
        What::BranchWrapped { key, region: of } => Event::BranchKeyWrapped(BranchKeyWrapped {
            key: branch(*key),
            region: region(*of),
            wrapped: vec![at; usize::from(at % 4)].into(),
        }),
        What::Distrust { life, from } => Event::OriginDistrusted(OriginDistrusted {
            origin: life_of(*life),
            from_sequence: *from,
            and_later_lives: from % 2 == 0,
            signature: [at; 64].into(),
        }),
        _ => Event::OriginOpened(OriginOpened { previous: None, verifying_key: [at; 32] }),
    };
    let of_company = matches!(
        event.register(),
        Register::Company | Register::Policy | Register::ApiKey(_) | Register::HashProfile(_)
    );
    (if of_company { Subject::Company(of) } else { Subject::Deployment }, event)
}

/// A stamp like those that meet: of few readings, origins and generations.
pub(crate) fn stamps() -> impl Strategy<Value = Stamp> {
    (0..4_u64, 1..4_u64, 0..LIVES, 0..3_u32).prop_map(|(effective, revision, life, generation)| {
        let effective = match effective {
            0 => EffectiveTime::LOWEST,
            ms => EffectiveTime::at(at(ms)),
        };
        Stamp { effective, revision: at(revision), origin: life_of(life), generation }
    })
}

/// Any origin, also with the longest names.
pub(crate) fn origins() -> impl Strategy<Value = Origin> {
    let name = || "[a-z0-9][a-z0-9_-]{0,31}";
    (name(), name(), any::<u32>(), any::<u32>()).prop_map(|(region, node, counter, tag)| Origin {
        region: region.parse().unwrap(),
        node: node.parse().unwrap(),
        incarnation: Incarnation { counter, tag },
    })
}
