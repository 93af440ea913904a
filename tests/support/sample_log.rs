//! Five days of two regions, written as their nodes would: the same bytes in every run.
//!
//! Names, times and whatever looks sealed is made up; nothing here opens anything. The regions are
//! cut off from each other on the third day, from 12:00 to 14:00, and `*-cut.jcas` are exports of
//! 13:30.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jcas::events::codec;
use jcas::events::event::{
    ApiKeyIssued, BranchKeyCreated, Cause, CompanyRegistered, Draft, Event, FieldChange,
    IdentityClaimed, LegacyHashAdded, OriginOpened, PasswordSet, PolicySet, Sealed, Upgrade,
    UserKeyCreated, UserRegistered,
};
use jcas::events::ids::{
    BlindIndex, BranchKeyId, DeploymentId, Fingerprint, IdentityKind, Slot, UserId, UserKeyId,
};
use jcas::events::policy::{Policies, Scope, Scopes, Signing};
use jcas::events::record::{LogPosition, Record, Register, Subject};
use jcas::events::stamp::{EffectiveTime, EventRef, Incarnation, Origin, Revision, Stamp};
use jcas::files::{Disk, Files};
use jcas::log::{self, Append, Batch, Log, LogOptions, LogReader, LogWriter, NewRecord};

/// 2026-03-02T00:00:00Z, a Monday.
const MONDAY: u64 = 1_772_409_600_000;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// The cut, and when the exports within it are made.
const CUT: (u64, u64) = (MONDAY + 2 * DAY + 12 * HOUR, MONDAY + 2 * DAY + 14 * HOUR);
const WITHIN: u64 = MONDAY + 2 * DAY + 13 * HOUR + HOUR / 2;
const DEPLOYMENT: DeploymentId = DeploymentId([0x5a; 16]);
const BRANCH: BranchKeyId = BranchKeyId([0xb7; 16]);
const REGIONS: [&str; 2] = ["eu", "us"];

/// What is recorded, where and when; all events of one command.
struct Told {
    at: u64,
    region: usize,
    company: Option<&'static str>,
    subject: Subject,
    effective: Option<EffectiveTime>,
    events: Vec<Event>,
}

/// Numbers that look drawn.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn sealed(of: &str) -> Sealed {
    let (bytes, print) =
        (codec::digest(of.as_bytes()).0, codec::digest(&[of.as_bytes(), b"+"].concat()).0);
    Sealed {
        bytes: [bytes, print].concat().into(),
        fingerprint: Fingerprint(print[..16].try_into().unwrap()),
    }
}

fn user(number: u64) -> UserId {
    let digest = codec::digest(&number.to_le_bytes()).0;
    UserId::new(MONDAY + 7 * HOUR + number * 11 * 60_000, digest[..10].try_into().unwrap())
}

fn slot(company: &str, country: &str) -> Slot {
    Slot { company: company.parse().unwrap(), country: country.parse().unwrap() }
}

fn origin(region: usize) -> Origin {
    let incarnation = Incarnation { counter: 1, tag: 0x0bad_cafe };
    Origin { region: REGIONS[region].parse().unwrap(), node: "n1".parse().unwrap(), incarnation }
}

fn changes(of: UserId, fields: &[(&str, &str)]) -> Event {
    let change = |(field, value): &(&str, &str)| FieldChange {
        field: field.parse().unwrap(),
        value: Some(sealed(&format!("{of}/{field}/{value}"))),
    };
    Event::ProfileUpdated(fields.iter().map(change).collect())
}

fn password(of: UserId, text: &str) -> Event {
    Event::PasswordSet(PasswordSet { secret: sealed(&format!("{of}/{text}")), upgrade: None })
}

fn told(at: u64, region: usize, company: &'static str, of: UserId, events: Vec<Event>) -> Told {
    let subject = Subject::User(of);
    Told { at, region, company: Some(company), subject, effective: None, events }
}

fn registered(at: u64, region: usize, company: &'static str, of: UserId) -> Told {
    let key: [u8; 8] = of.as_bytes()[8..].try_into().unwrap();
    let mac = codec::digest(&[&of.as_bytes()[..], b"email"].concat());
    let claim = IdentityClaimed {
        index: BlindIndex { kind: IdentityKind::Email, version: 1, mac },
        verified: true,
        value: sealed(&format!("{of}/email")),
        since: None,
    };
    let made = UserKeyCreated { key: UserKeyId(key), branch: BRANCH, wrapped: sealed("key").bytes };
    let company_id = company.parse().unwrap();
    let events = vec![
        Event::UserKeyCreated(made),
        Event::UserRegistered(UserRegistered {
            company: company_id,
            country: "NG".parse().unwrap(),
        }),
        Event::CompanyJoined(company_id),
        Event::IdentityClaimed(claim),
        changes(of, &[("given_name", "first"), ("locale", "en")]),
    ];
    told(at, region, company, of, events)
}

/// Companies, keys and the nodes themselves.
fn founding() -> Vec<Told> {
    let deployment = |at, region, event| Told {
        at,
        region,
        company: None,
        subject: Subject::Deployment,
        effective: None,
        events: vec![event],
    };
    let mut all = Vec::new();
    for region in [0, 1] {
        let opened =
            OriginOpened { previous: None, verifying_key: [u8::try_from(region).unwrap() + 1; 32] };
        all.push(deployment(
            MONDAY + 6 * HOUR + region as u64 * 60_000,
            region,
            Event::OriginOpened(opened),
        ));
    }
    let wrapped = REGIONS.map(|it| (it.parse().unwrap(), sealed(it).bytes)).to_vec();
    let branch = Event::BranchKeyCreated(BranchKeyCreated { key: BRANCH, wrapped });
    all.push(deployment(MONDAY + 6 * HOUR + 90_000, 0, branch));
    for (number, name) in ["shop", "club"].into_iter().enumerate() {
        let company = name.parse().unwrap();
        let countries = vec!["KE".parse().unwrap(), "NG".parse().unwrap()];
        let issued = ApiKeyIssued {
            company,
            key: format!("{name}1").parse().unwrap(),
            digest: codec::digest(name.as_bytes()).0,
            scopes: Scopes::new(Scope::ALL),
            expires_unix_ms: None,
            signing: None,
        };
        let events = vec![
            Event::CompanyRegistered(CompanyRegistered {
                company,
                countries,
                signing: Signing::Optional,
            }),
            Event::PolicySet(PolicySet { company, policies: Policies::TRUSTED }),
            Event::ApiKeyIssued(issued),
        ];
        let at = MONDAY + 6 * HOUR + 120_000 + number as u64 * 60_000;
        let subject = Subject::Company(company);
        all.push(Told { at, region: 0, company: None, subject, effective: None, events });
    }
    all
}

/// What happens to Ada, the first user: the stories of docs/replay.md.
fn ada() -> Vec<Told> {
    let ada = user(0);
    let at =
        |day: u64, hour: u64, minute: u64| MONDAY + (day - 1) * DAY + hour * HOUR + minute * 60_000;
    let import =
        LegacyHashAdded { slot: slot("club", "NG"), hash: sealed("ada/club"), profile: None };
    let joined = Event::CompanyJoined("club".parse().unwrap());
    let mut imported =
        told(at(1, 9, 30), 1, "club", ada, vec![joined, Event::LegacyHashAdded(import)]);
    imported.effective = Some(EffectiveTime::LOWEST);
    vec![
        registered(at(1, 8, 5), 0, "shop", ada),
        imported,
        told(at(2, 9, 12), 0, "shop", ada, vec![password(ada, "new")]),
        told(at(2, 18, 40), 0, "shop", ada, vec![changes(ada, &[("nickname", "A")])]),
        // Both regions write one field while they are cut off from each other.
        told(
            at(3, 12, 30),
            0,
            "shop",
            ada,
            vec![changes(ada, &[("nickname", "Ada"), ("city", "Lagos")])],
        ),
        told(at(3, 13, 5), 1, "club", ada, vec![changes(ada, &[("nickname", "Countess")])]),
        told(at(4, 10, 0), 0, "shop", ada, vec![Event::UserDisabled(())]),
        told(
            at(4, 10, 20),
            0,
            "shop",
            ada,
            vec![Event::UserEnabled(vec![(origin(0), Revision::from_unix_ms(at(4, 10, 0)))])],
        ),
    ]
}

/// What happens to everybody else.
fn others() -> Vec<Told> {
    let mut drawn = Drawn(7);
    let mut all = Vec::new();
    for number in 1..48_u64 {
        let of = user(number);
        let (region, company) = if drawn.below(3) == 0 { (1, "club") } else { (0, "shop") };
        let mut at = MONDAY + 8 * HOUR + drawn.below(4 * 24) * HOUR + drawn.below(HOUR);
        all.push(registered(at, region, company, of));
        let first = at;
        for _ in 0..drawn.below(5) {
            at += HOUR / 2 + drawn.below(18 * HOUR);
            let region = usize::try_from(drawn.below(2)).unwrap();
            let text = format!("{}", drawn.below(1000));
            let event = match drawn.below(4) {
                0 => password(of, &text),
                1 => changes(of, &[("locale", &text)]),
                2 => changes(of, &[("given_name", &text), ("city", &text)]),
                _ => changes(of, &[("nickname", &text)]),
            };
            all.push(told(at, region, if region == 0 { "shop" } else { "club" }, of, vec![event]));
        }
        if number % 7 == 3 {
            let hash =
                LegacyHashAdded { slot: slot(company, "NG"), hash: sealed("old"), profile: None };
            let mut old =
                told(first + 60_000, region, company, of, vec![Event::LegacyHashAdded(hash)]);
            old.effective = Some(EffectiveTime::LOWEST);
            let revision = Revision::from_unix_ms(old.at);
            all.push(old);
            // The first login hashes anew: `upgrade` is completed once the import has its number.
            let verified = Stamp {
                effective: EffectiveTime::LOWEST,
                revision,
                origin: origin(region),
                generation: 0,
            };
            let upgrade = Some(Upgrade { verified, lineage: Vec::new() });
            let secret = sealed(&format!("{of}/anew"));
            let set = Event::PasswordSet(PasswordSet { secret, upgrade });
            all.push(told(first + 300_000, region, company, of, vec![set]));
        }
        if number == 20 {
            all.push(told(
                MONDAY + 4 * DAY + 20 * HOUR,
                0,
                "shop",
                of,
                vec![Event::UserErased(())],
            ));
        }
    }
    all.retain(|it| it.at < MONDAY + 5 * DAY);
    all
}

/// A node's log in the making.
struct Node {
    log: Log,
    writer: LogWriter,
}

impl Node {
    fn new(folder: &Path, region: usize) -> Self {
        let files: Arc<dyn Files> = Arc::new(Disk);
        let options = LogOptions::new(DEPLOYMENT, Arc::new(|| Duration::ZERO));
        let (log, _) =
            Log::open(files, folder, LogOptions { warn_percent: 99, stop_percent: 100, ..options })
                .unwrap();
        let writer = log.start_writer(origin(region), Box::new(|_| ())).unwrap();
        Self { log, writer }
    }

    /// Appends a batch and returns its events as they lie.
    fn append(&self, batch: Batch) -> Vec<(EventRef, Record)> {
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |done| tell.send(done).unwrap());
        self.writer.append(Append { epoch: self.writer.epoch(), batch, done }).unwrap();
        let placed = told.recv().unwrap().unwrap().placed;
        let reader = self.log.reader();
        placed.iter().map(|it| (it.reference, reader.read_at(it.position).unwrap())).collect()
    }
}

fn drafts(told: &Told, references: &BTreeMap<Revision, EventRef>) -> Vec<NewRecord> {
    let revision = Revision::from_unix_ms(told.at);
    let company = told.company.map(|it| it.parse().unwrap());
    let key = told.company.map(|it| format!("{it}1").parse().unwrap());
    let cause = Cause { company, key, ..Cause::default() };
    let draft = |(number, event): (usize, &Event)| {
        let mut event = event.clone();
        if let Event::PasswordSet(PasswordSet { upgrade: Some(upgrade), .. }) = &mut event {
            upgrade.lineage = vec![references[&upgrade.verified.revision]];
        }
        let effective = told.effective.unwrap_or(EffectiveTime::at(revision));
        let draft =
            Draft { subject: told.subject, revision, effective, cause: cause.clone(), event };
        let nonce = codec::digest(format!("{revision} {number} {}", told.region).as_bytes()).0;
        NewRecord::new(&draft, nonce[..16].try_into().unwrap()).unwrap()
    };
    told.events.iter().enumerate().map(draft).collect()
}

fn export(reader: &LogReader, file: &Path) {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let holds_key = |it: Register| {
        matches!(it, Register::UserKey(_) | Register::BranchKey(_) | Register::ApiKey(_))
    };
    let all = (LogPosition::START, None);
    log::export(&files, file, reader, all, &mut |_, _| true, &mut |it, _| !holds_key(it.register))
        .unwrap();
}

/// Writes `eu.jcas`, `us.jcas`, `eu-cut.jcas` and `us-cut.jcas` into a folder, by way of two logs
/// in `space`.
pub(crate) fn write(folder: &Path, space: &Path) {
    let nodes = [0, 1].map(|region| Node::new(&space.join(REGIONS[region]), region));
    let mut all: Vec<Told> = [founding(), ada(), others()].into_iter().flatten().collect();
    all.sort_by_key(|it| it.at);
    let (mut drawn, mut references) = (Drawn(3), BTreeMap::new());
    // What is on its way: when it comes, in which order, where to, and the records.
    let mut coming: BTreeMap<(u64, usize), (usize, Vec<Record>)> = BTreeMap::new();
    let mut comes_last = [0, 0];
    let mut exported = false;
    let deliver = |coming: &mut BTreeMap<(u64, usize), (usize, Vec<Record>)>, until: u64| {
        while coming.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            let (_, (to, records)) = coming.pop_first().unwrap();
            nodes[to].append(Batch::Foreign(records));
        }
    };
    for (number, told) in all.iter().enumerate() {
        if told.at > WITHIN && !exported {
            exported = true;
            deliver(&mut coming, WITHIN);
            for (node, region) in nodes.iter().zip(REGIONS) {
                export(&node.log.reader(), &folder.join(format!("{region}-cut.jcas")));
            }
        }
        deliver(&mut coming, told.at);
        let written = nodes[told.region].append(Batch::Own(drafts(told, &references)));
        references.entry(Revision::from_unix_ms(told.at)).or_insert(written[0].0);
        let lag =
            60 + drawn.below(240) + if drawn.below(20) == 0 { drawn.below(30_000) } else { 0 };
        let cut = told.at + lag > CUT.0 && told.at < CUT.1;
        let at = if cut { CUT.1 + 500 } else { told.at + lag }.max(comes_last[told.region]);
        comes_last[told.region] = at;
        let records = written.into_iter().map(|(_, record)| record).collect();
        coming.insert((at, number), (1 - told.region, records));
    }
    deliver(&mut coming, u64::MAX);
    for (node, region) in nodes.iter().zip(REGIONS) {
        export(&node.log.reader(), &folder.join(format!("{region}.jcas")));
        node.writer.close();
    }
}
