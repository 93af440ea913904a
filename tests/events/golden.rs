//! Bytes that every version must read, for ever: one record of every kind of event, one state, one
//! state hash. Beside the bytes lies what they say, to be read by people.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use jcas::events::codec;
use jcas::events::event::*;
use jcas::events::ids::{BranchKeyId, Digest, HashProfileId, KeyedDigest};
use jcas::events::pair::Pair;
use jcas::events::policy::{Policies, Scope, Scopes, Signing};
use jcas::events::record::{Fact, Header, Record, Subject};
use jcas::events::stamp::{EffectiveTime, EventRef, Stamp};
use serde_json::{Value, json};

use crate::fixtures::*;
use crate::world::World;

/// The sample record of one kind: its header and its body, as they are stored.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) header: Header,
    pub(crate) event: Event,
    pub(crate) nonce: [u8; codec::NONCE_BYTES],
    pub(crate) record: Record,
}

impl Sample {
    fn body(&self) -> &[u8] {
        self.record.body.as_deref().unwrap()
    }

    fn described(&self) -> Value {
        readable(json!({
            "header": self.header,
            "header_digest": codec::digest(&self.record.header),
            "nonce": self.nonce,
            "event": self.event,
        }))
    }
}

fn sample_events() -> Vec<(Subject, EffectiveTime, Event)> {
    let now = EffectiveTime::at(at(0));
    let of_user = |event| (Subject::User(user(1)), now, event);
    let of_company = |event| (Subject::Company(company("shop")), now, event);
    let of_deployment = |event| (Subject::Deployment, now, event);
    let pair = Pair::new(user(1), user(2)).unwrap();
    let of_pair = |event| (Subject::Pair(pair), now, event);
    let branch = BranchKeyId([0xbb; 16]);
    let verified = Stamp {
        effective: EffectiveTime::LOWEST,
        revision: at(1_700_000_000_006),
        origin: origin("eu/n1"),
        generation: 0,
    };
    let legacy_reference = EventRef { origin: origin("eu/n1"), sequence: 6 };
    let hash = LegacyHashAdded {
        slot: slot("shop/NG"),
        hash: sealed("old"),
        profile: Some(HashProfileId([0x99; 16])),
    };
    let upgraded = PasswordSet {
        secret: sealed("better"),
        upgrade: Some(Upgrade { verified, lineage: vec![legacy_reference] }),
    };
    let issued = ApiKeyIssued {
        company: company("shop"),
        key: "k1".parse().unwrap(),
        digest: [0x5a; 32],
        scopes: Scopes::new([Scope::Sync, Scope::Login, Scope::Erase]),
        expires_unix_ms: Some(1_800_000_000_000),
        signing: Some(SigningKey::Hs256 { branch, sealed: [0x51; 20].into() }),
    };
    vec![
        of_user(Event::UserKeyCreated(key(1))),
        of_user(registered("shop")),
        of_user(joined("shop")),
        of_user(claimed("ada@x.ng", true)),
        of_user(released("+234")),
        (Subject::User(user(1)), EffectiveTime::LOWEST, Event::LegacyHashAdded(hash)),
        (Subject::User(user(1)), EffectiveTime::LOWEST, Event::PasswordSet(upgraded)),
        of_user(profile_updated(&[("given_name", Some("Ada")), ("locale", None)])),
        of_user(Event::UserDisabled(())),
        of_user(Event::UserEnabled(vec![(origin("eu/n1"), at(1_700_000_000_009))])),
        of_user(Event::CompanyLeft(company("shop"))),
        (
            Subject::Pair(pair),
            EffectiveTime::LOWEST,
            Event::UsersLinked(UsersLinked { pair, automatic: true }),
        ),
        of_pair(Event::LinkDeclined(pair)),
        of_pair(Event::UsersUnlinked(UsersUnlinked {
            pairs: vec![pair],
            floors: vec![(user(1), verified)],
        })),
        (Subject::User(user(3)), now, Event::UserErased(())),
        of_company(Event::CompanyRegistered(CompanyRegistered {
            company: company("shop"),
            countries: vec![country("KE"), country("NG")],
            signing: Signing::Optional,
        })),
        of_company(Event::PolicySet(PolicySet {
            company: company("shop"),
            policies: Policies::TRUSTED,
        })),
        of_company(Event::ApiKeyIssued(issued)),
        of_company(Event::ApiKeyRevoked(ApiKeyRevoked {
            company: company("shop"),
            key: "k1".parse().unwrap(),
        })),
        of_company(Event::HashProfileDeclared(HashProfileDeclared {
            slot: slot("shop/NG"),
            name: "default".parse().unwrap(),
            id: HashProfileId([0x99; 16]),
            branch,
            sealed: [0x52; 20].into(),
        })),
        of_deployment(Event::OriginOpened(OriginOpened {
            previous: Some(PreviousLife {
                origin: origin("eu/n1"),
                sequence: 20,
                head: Digest([0x33; 32]),
            }),
            verifying_key: [0x44; 32],
        })),
        of_deployment(Event::BranchKeyCreated(BranchKeyCreated {
            key: branch,
            wrapped: vec![("eu".parse().unwrap(), [0x61; 24].into())],
        })),
        of_deployment(Event::BranchKeyWrapped(BranchKeyWrapped {
            key: branch,
            region: "af".parse().unwrap(),
            wrapped: [0x62; 24].into(),
        })),
        of_deployment(Event::OriginDistrusted(OriginDistrusted {
            origin: life("af/n9", 4),
            from_sequence: 300,
            and_later_lives: true,
            signature: [0x71; 64].into(),
        })),
        // Later kinds stand last: the records before them stay as they are.
        (Subject::User(user(3)), now, Event::ErasureConfirmed(())),
    ]
}

/// One record of every kind, chained in one life as a node would write them.
pub(crate) fn samples() -> Vec<Sample> {
    let mut previous = Digest::ZERO;
    let mut samples = Vec::new();
    for (number, (subject, effective, event)) in (1_u8..).zip(sample_events()) {
        let revision = at(1_700_000_000_000 + u64::from(number));
        let nonce = [number; codec::NONCE_BYTES];
        let (body, digest) = codec::encode_body(nonce, &event).unwrap();
        let now = EffectiveTime::at(at(0));
        let cause = Cause {
            company: Some(company("shop")),
            key: Some("k1".parse().unwrap()),
            request: Some(KeyedDigest([0x11; 16])),
            idempotency: Some(KeyedDigest([0x12; 16])),
            content: Some(KeyedDigest([0x13; 16])),
        };
        let header = Header {
            deployment: DEPLOYMENT,
            origin: origin("eu/n1"),
            sequence: u64::from(number),
            previous,
            subject,
            register: event.register(),
            revision,
            effective: if effective == now { EffectiveTime::at(revision) } else { effective },
            cause: if matches!(subject, Subject::Deployment) { Cause::default() } else { cause },
            kind: event.kind(),
            schema: codec::schema(),
            body: digest,
        };
        let bytes = codec::encode_header(&header).unwrap();
        previous = codec::digest(&bytes);
        let name = format!("{:02}-{}", header.kind.0, header.kind.name().unwrap());
        let record = Record { header: bytes, body: Some(body) };
        samples.push(Sample { name, header, event, nonce, record });
    }
    samples
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// The stored file; with `UPDATE_GOLDEN=1` it is written first.
fn golden(name: &str, today: &[u8]) -> Vec<u8> {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|asked| asked == "1") {
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, today).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Bytes as hex: an array of small numbers is no pleasure to read.
fn readable(value: Value) -> Value {
    let byte = |it: &Value| it.as_u64().and_then(|number| u8::try_from(number).ok());
    match value {
        Value::Array(all) => match all.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) if !bytes.is_empty() => Value::String(hex::encode(bytes)),
            _ => Value::Array(all.into_iter().map(readable).collect()),
        },
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, readable(value))).collect()
        }
        other => other,
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap();
    text.push(b'\n');
    text
}

fn stored(sample: &Sample) -> Record {
    let header = golden(&format!("{}.header.bin", sample.name), &sample.record.header);
    let body = golden(&format!("{}.body.bin", sample.name), sample.body());
    Record { header: header.into(), body: Some(body.into()) }
}

#[test]
fn there_is_a_sample_of_every_kind_and_each_in_a_chain() {
    let samples = samples();
    let kinds: BTreeSet<EventKind> = samples.iter().map(|sample| sample.header.kind).collect();
    assert_eq!(kinds, EventKind::KNOWN.iter().copied().collect());
    assert_eq!(samples.len(), EventKind::KNOWN.len());
    for (one, next) in samples.iter().zip(&samples[1..]) {
        assert_eq!(next.header.previous, codec::digest(&one.record.header));
    }
}

#[test]
fn golden_records_of_every_kind_say_what_they_said() {
    for sample in samples() {
        let record = stored(&sample);
        let (header, fact) = codec::decode_record(&record).unwrap();
        let read = Sample {
            header,
            event: fact.event.unwrap(),
            nonce: *record.body.as_deref().unwrap().first_chunk().unwrap(),
            name: sample.name.clone(),
            record,
        };
        let said = golden(&format!("{}.json", sample.name), &pretty(&sample.described()));
        let said: Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(read.described(), said, "{}", sample.name);
    }
}

#[test]
fn golden_records_are_written_again_byte_for_byte() {
    for sample in samples() {
        let record = stored(&sample);
        let (header, fact) = codec::decode_record(&record).unwrap();
        let body = record.body.as_deref().unwrap();
        let nonce = *body.first_chunk().unwrap();
        let (again, digest) = codec::encode_body(nonce, &fact.event.unwrap()).unwrap();
        assert_eq!((&*again, digest), (body, header.body), "{}", sample.name);
        assert_eq!(codec::encode_header(&header).unwrap(), record.header, "{}", sample.name);
        assert_eq!(record, sample.record, "{}: this version writes other bytes", sample.name);
    }
}

#[test]
fn golden_files_are_all_looked_at() {
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for sample in samples() {
        for end in ["header.bin", "body.bin", "json"] {
            expected.insert(format!("{}.{end}", sample.name));
        }
    }
    expected.extend(["user-state.bin", "user-state.txt", "state-hash.txt"].map(str::to_owned));
    // The other tests may be writing the files at this moment.
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        let found = fs::read_dir(folder()).unwrap();
        let found = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    }
}

fn facts() -> Vec<Fact> {
    samples().iter().map(|sample| codec::decode_record(&sample.record).unwrap().1).collect()
}

#[test]
fn golden_state_of_a_user_is_read_and_written_byte_for_byte() {
    let world = World::of(&facts());
    let state = &world.users[&user(1)];
    let today = codec::encode_user(state).unwrap();
    let bytes = golden("user-state.bin", &today);
    let read = codec::decode_user(&bytes).unwrap();
    assert_eq!(codec::encode_user(&read).unwrap(), bytes);
    let said = golden("user-state.txt", format!("{state:#?}\n").as_bytes());
    assert_eq!(format!("{read:#?}\n"), String::from_utf8(said).unwrap());
    assert_eq!(&read, state, "this version folds to something else: raise FOLD_VERSION");
}

#[test]
fn golden_history_has_the_state_hash_it_had() {
    let hash = World::of(&facts()).hash();
    let pinned = golden("state-hash.txt", format!("{hash}\n").as_bytes());
    let pinned = String::from_utf8(pinned).unwrap();
    assert_eq!(pinned.trim_end(), hash.to_string(), "raise FOLD_VERSION and pin the new hash");
}

#[test]
fn golden_history_without_the_bodies_that_may_be_blanked_has_the_same_state_hash() {
    let erased = user(3);
    let of_erased = |clear| {
        let mut sample = samples().remove(0);
        let (body, digest) = codec::encode_body([9; codec::NONCE_BYTES], &clear).unwrap();
        sample.header.subject = Subject::User(erased);
        sample.header.register = clear.register();
        sample.header.kind = clear.kind();
        sample.header.body = digest;
        let header = codec::encode_header(&sample.header).unwrap();
        [Some(body), None]
            .map(|body| codec::decode_record(&Record { header: header.clone(), body }).unwrap().1)
    };
    let [key, blanked_key] = of_erased(Event::UserKeyCreated(key(3)));
    let [claim, blanked_claim] = of_erased(claimed("gone@x.ng", true));
    let with = |facts: [Fact; 2]| World::of(self::facts().iter().chain(&facts));
    let whole = with([key, claim]);
    let blanked = with([blanked_key, blanked_claim]);
    assert_eq!(whole.hash(), blanked.hash());
    assert_eq!(whole.bytes(), blanked.bytes());
}

#[test]
fn golden_history_without_the_bodies_of_any_key_has_the_same_state_hash() {
    let keys = |fact: &Fact| {
        use jcas::events::record::Register::{ApiKey, BranchKey, UserKey};
        matches!(fact.register, ApiKey(_) | BranchKey(_) | UserKey(_))
    };
    let mut blanked = facts();
    assert!(blanked.iter().filter(|fact| keys(fact)).count() >= 5, "every kind of key is in it");
    blanked.iter_mut().filter(|fact| keys(fact)).for_each(|fact| fact.event = None);
    assert_eq!(World::of(&facts()).hash(), World::of(&blanked).hash());
}

#[test]
fn kinds_have_names_of_their_own() {
    let names: BTreeMap<_, _> = EventKind::KNOWN.iter().map(|kind| (kind.name(), kind)).collect();
    assert_eq!(names.len(), EventKind::KNOWN.len());
    assert!(!names.contains_key(&None));
    assert_eq!(EventKind(u16::MAX).name(), None);
}
