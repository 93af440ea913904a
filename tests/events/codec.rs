//! The one door of the format refuses what is not whole, not meant or too long, and keeps what it
//! cannot read yet.

use jcas::events::cell::Effect;
use jcas::events::codec::{self, CodecError};
use jcas::events::event::{Cause, Event, EventKind};
use jcas::events::evolve::evolve;
use jcas::events::ids::{Digest, IdentityKind, KeyedDigest, UserId};
use jcas::events::record::{Header, Record, Register, Subject};
use jcas::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};
use jcas::events::state::UserState;
use proptest::prelude::*;

use crate::fixtures::*;
use crate::golden::{Sample, samples};
use crate::harness::holds;
use crate::world::World;

fn body_of(sample: &Sample) -> Vec<u8> {
    sample.record.body.clone().unwrap().into_vec()
}

/// The header, naming this body: what a peer that means ill could send.
fn naming(header: &Header, body: &[u8]) -> Header {
    Header { body: codec::digest(body), ..header.clone() }
}

fn a_state() -> Vec<u8> {
    let facts: Vec<_> =
        samples().iter().map(|sample| codec::decode_record(&sample.record).unwrap().1).collect();
    codec::encode_user(&World::of(&facts).users[&user(1)]).unwrap()
}

#[test]
fn a_truncated_header_is_refused_at_every_length() {
    for sample in samples() {
        for len in 0..sample.record.header.len() {
            assert!(codec::decode_header(&sample.record.header[..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn a_truncated_body_is_refused_at_every_length_even_if_its_header_names_it() {
    for sample in samples() {
        let body = body_of(&sample);
        for len in 0..body.len() {
            let cut = &body[..len];
            let refused = codec::decode_body(&sample.header, cut);
            assert!(matches!(refused, Err(CodecError::BodyDigest)), "{} {len}", sample.name);
            let refused = codec::decode_body(&naming(&sample.header, cut), cut);
            assert!(matches!(refused, Err(CodecError::Fields { .. })), "{} {len}", sample.name);
        }
    }
}

#[test]
fn a_truncated_state_is_refused_at_every_length() {
    let state = a_state();
    for len in 0..state.len() {
        assert!(codec::decode_user(&state[..len]).is_err(), "{len}");
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let trailing = |error| matches!(error, CodecError::Trailing { extra: 1, .. });
    for sample in samples() {
        let longer = [&*sample.record.header, &[0]].concat();
        assert!(trailing(codec::decode_header(&longer).unwrap_err()));
        let longer = [&*body_of(&sample), &[0]].concat();
        let header = naming(&sample.header, &longer);
        assert!(trailing(codec::decode_body(&header, &longer).unwrap_err()), "{}", sample.name);
        let refused = codec::decode_body(&sample.header, &longer);
        assert!(matches!(refused, Err(CodecError::BodyDigest)));
    }
    let longer = [&*a_state(), &[0]].concat();
    assert!(trailing(codec::decode_user(&longer).unwrap_err()));
}

#[test]
fn a_body_with_any_bit_flipped_is_refused() {
    for sample in samples() {
        let mut body = body_of(&sample);
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            let refused = codec::decode_body(&sample.header, &body);
            assert!(matches!(refused, Err(CodecError::BodyDigest)), "{} {bit}", sample.name);
            let record =
                Record { body: Some(body.clone().into()), header: sample.record.header.clone() };
            assert!(codec::decode_record(&record).is_err());
            body[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(codec::decode_body(&sample.header, &body).is_ok());
    }
}

#[test]
fn a_header_with_any_bit_flipped_is_not_the_same_header() {
    for sample in samples() {
        let mut bytes = sample.record.header.clone();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = codec::decode_header(&bytes) {
                assert_ne!(other, sample.header, "{} {bit}", sample.name);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn what_is_longer_than_it_may_be_is_refused_and_not_written() {
    let oversize = |error| matches!(error, CodecError::Oversize { .. });
    let header = vec![1; codec::HEADER_BYTES_MAX + 1];
    assert!(oversize(codec::decode_header(&header).unwrap_err()));
    let body = vec![0; codec::BODY_BYTES_MAX + 1];
    let named = naming(&samples()[0].header, &body);
    assert!(oversize(codec::decode_body(&named, &body).unwrap_err()));
    let of_bytes = |len: usize| {
        let mut key = key(1);
        key.wrapped = vec![0; len].into();
        codec::encode_body([0; codec::NONCE_BYTES], &Event::UserKeyCreated(key))
    };
    assert!(oversize(of_bytes(codec::BODY_BYTES_MAX).unwrap_err()));
    // Nonce, key, branch key, and a length in five bytes.
    let longest = codec::BODY_BYTES_MAX - codec::NONCE_BYTES - 8 - 16 - 5;
    assert_eq!(of_bytes(longest).unwrap().0.len(), codec::BODY_BYTES_MAX);
    assert!(oversize(of_bytes(longest + 1).unwrap_err()));
}

#[test]
fn a_length_that_is_not_there_is_refused_before_anything_is_set_aside_for_it() {
    let profile = samples().into_iter().find(|it| it.header.register == Register::Profile).unwrap();
    // A marker and eight bytes: as many fields as a number can say.
    for count in [u64::MAX, u64::MAX / 2, 1 << 40, 1 << 27] {
        let mut body = vec![0; codec::NONCE_BYTES];
        body.push(253);
        body.extend_from_slice(&count.to_le_bytes());
        assert!(codec::decode_body(&naming(&profile.header, &body), &body).is_err(), "{count}");
    }
}

#[test]
fn a_kind_of_a_newer_version_is_kept_and_says_nothing() {
    let sample = &samples()[1];
    for kind in [0, 19, 999, u16::MAX] {
        let header = Header { kind: EventKind(kind), ..sample.header.clone() };
        assert_kept(&header, &body_of(sample));
    }
}

#[test]
fn a_newer_schema_of_a_known_kind_is_kept_and_says_nothing() {
    for sample in samples() {
        let header = Header { schema: codec::schema() + 1, ..sample.header.clone() };
        assert_kept(&header, &body_of(&sample));
        let longer = [&*body_of(&sample), b"and more"].concat();
        assert_kept(&naming(&header, &longer), &longer);
    }
}

fn assert_kept(header: &Header, body: &[u8]) {
    let bytes = codec::encode_header(header).unwrap();
    let record = Record { header: bytes.clone(), body: Some(body.into()) };
    let (decoded, fact) = codec::decode_record(&record).unwrap();
    assert_eq!(&decoded, header);
    assert_eq!(codec::encode_header(&decoded).unwrap(), bytes, "passed on as it came");
    assert_eq!(fact.event, None);
    // That there is an event about a key is in the header, and all that the state hash is over.
    let of_a_key = matches!(fact.register, Register::ApiKey(_) | Register::BranchKey(_));
    let noted = if of_a_key { Effect::Prevailed } else { Effect::Ignored };
    assert_eq!(World::default().registry.evolve(&fact), noted);
    // A tombstone and the name of a key are in the header: they need no body.
    if !matches!(fact.register, Register::Erasure | Register::UserKey(_)) {
        let mut state = UserState::default();
        assert_eq!(evolve(&mut state, user(1), &fact), Effect::Ignored);
        let aside = UserState { greatest: Revision::ZERO, ..state };
        assert!(aside.is_empty());
    }
}

#[test]
fn the_digest_of_a_body_that_cannot_be_read_is_checked_too() {
    let sample = &samples()[1];
    let header = Header { kind: EventKind(999), ..sample.header.clone() };
    let refused = codec::decode_body(&header, b"something else");
    assert!(matches!(refused, Err(CodecError::BodyDigest)));
}

#[test]
fn a_layout_of_another_version_is_refused_by_name() {
    let of_version = |bytes: &[u8]| [&[bytes[0] + 1], &bytes[1..]].concat();
    let header = codec::decode_header(&of_version(&samples()[0].record.header));
    assert!(matches!(header, Err(CodecError::Version { version: 2, known: 1, .. })));
    let state = codec::decode_user(&of_version(&a_state()));
    assert!(matches!(state, Err(CodecError::Version { version: 2, known: 1, .. })));
    assert!(matches!(codec::decode_header(&[]), Err(CodecError::Version { version: 0, .. })));
    assert!(matches!(codec::decode_user(&[]), Err(CodecError::Version { version: 0, .. })));
}

#[test]
fn a_stored_name_that_is_none_is_refused() {
    let bytes = samples()[0].record.header.to_vec();
    let position = bytes.windows(2).position(|two| two == b"eu").unwrap();
    for wrong in [b"EU", b"-u", b"e ", b"e/", b"e\xff"] {
        let mut bytes = bytes.clone();
        bytes[position..position + 2].copy_from_slice(wrong);
        let refused = codec::decode_header(&bytes);
        assert!(matches!(refused, Err(CodecError::Fields { .. })), "{wrong:?}");
    }
}

#[test]
fn equal_events_have_different_digests_under_different_nonces() {
    let digest_of = |nonce| codec::encode_body([nonce; 16], &Event::UserErased(())).unwrap().1;
    assert_ne!(digest_of(1), digest_of(2));
}

#[test]
fn a_blanked_record_keeps_its_header_and_its_place() {
    for sample in samples() {
        let blanked = Record { body: None, ..sample.record.clone() };
        let (header, fact) = codec::decode_record(&blanked).unwrap();
        assert_eq!(header, sample.header);
        let whole = codec::decode_record(&sample.record).unwrap().1;
        assert_eq!((fact.digest, fact.reference), (whole.digest, whole.reference));
        assert_eq!(fact.event, None);
    }
}

#[test]
fn the_longest_header_fits() {
    let slug = "a".repeat(32);
    let longest = slot(&format!("{slug}/NG"));
    let cause = Cause {
        company: Some(company(&slug)),
        key: Some(slug.parse().unwrap()),
        request: Some(KeyedDigest([255; 16])),
        idempotency: Some(KeyedDigest([255; 16])),
        content: Some(KeyedDigest([255; 16])),
    };
    let header = Header {
        deployment: DEPLOYMENT,
        origin: Origin {
            region: slug.parse().unwrap(),
            node: slug.parse().unwrap(),
            incarnation: Incarnation { counter: u32::MAX, tag: u32::MAX },
        },
        sequence: u64::MAX,
        previous: Digest([255; 32]),
        subject: Subject::Company(company(&slug)),
        register: Register::Legacy(longest),
        revision: Revision::from_bits(u64::MAX),
        effective: EffectiveTime::at(Revision::from_bits(u64::MAX)),
        cause,
        kind: EventKind(u16::MAX),
        schema: u16::MAX,
        body: Digest([255; 32]),
    };
    let bytes = codec::encode_header(&header).unwrap();
    assert_eq!(codec::decode_header(&bytes).unwrap(), header);
    assert!(bytes.len() * 2 < codec::HEADER_BYTES_MAX, "{} bytes", bytes.len());
}

#[test]
fn no_bytes_stop_the_program() {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let kinds = prop::sample::select(EventKind::KNOWN);
    holds(1_000, &(bytes(), kinds), |(bytes, kind)| {
        let versioned = [&[1], &*bytes].concat();
        drop(codec::decode_header(&versioned));
        drop(codec::decode_user(&versioned));
        let header = Header { kind, ..naming(&samples()[0].header, &bytes) };
        if let Ok(Some(event)) = codec::decode_body(&header, &bytes) {
            prop_assert_eq!(event.kind(), kind);
        }
        Ok(())
    });
}

#[test]
fn blind_indexes_and_their_keys_sort_alike() {
    let one = || {
        (any::<bool>(), 0..600_u16, any::<[u8; 32]>()).prop_map(|(email, version, mac)| {
            let kind = if email { IdentityKind::Email } else { IdentityKind::Phone };
            jcas::events::ids::BlindIndex { kind, version, mac: Digest(mac) }
        })
    };
    holds(300, &(one(), one()), |(one, other)| {
        prop_assert_eq!(one.cmp(&other), one.to_key().cmp(&other.to_key()));
        Ok(())
    });
}

#[test]
fn user_ids_are_read_from_the_bytes_and_the_text_they_give() {
    holds(300, &(0..1_u64 << 48, any::<[u8; 10]>()), |(ms, random)| {
        let id = UserId::new(ms, random);
        prop_assert_eq!(UserId::from_bytes(*id.as_bytes()), id);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        Ok(())
    });
}

#[test]
fn names_of_bytes_are_read_from_lower_case_hex_only() {
    let right = "ab".repeat(32);
    assert_eq!(right.parse::<Digest>().unwrap().to_string(), right);
    for wrong in
        [right.to_uppercase(), right[2..].to_owned(), format!("{right}ab"), "zz".repeat(32)]
    {
        assert!(wrong.parse::<Digest>().is_err(), "{wrong:?} was taken");
    }
}
