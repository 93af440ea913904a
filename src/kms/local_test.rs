//! A wrapping opens in its region with its context, whole; in every other case it is refused alike.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::events::ids::{BranchKeyId, DeploymentId};
use crate::kms::Purpose;

/// The answer of a future that waits for nothing.
fn now<T>(mut future: KmsFuture<'_, T>) -> Result<T, KmsError> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the local KMS waits for nothing"),
    }
}

fn region(name: &str) -> RegionId {
    name.parse().unwrap()
}

fn secret(seed: u8) -> WrappingSecret {
    WrappingSecret::from_seed(&[seed; KEY_BYTES])
}

fn key() -> KeyMaterial {
    KeyMaterial::new(&[0x5a; KEY_BYTES])
}

const CONTEXT: EncryptionContext = EncryptionContext {
    deployment: DeploymentId([1; 16]),
    purpose: Purpose::BranchKey,
    key: BranchKeyId([2; 16]),
};

/// Two regions that know each other.
fn two_regions() -> (LocalKms, LocalKms) {
    let west = LocalKms::new(region("west"), secret(1), [(region("east"), secret(2).public())]);
    let east = LocalKms::new(region("east"), secret(2), [(region("west"), secret(1).public())]);
    (west, east)
}

fn wrap(kms: &LocalKms, to: &str) -> Box<[u8]> {
    now(kms.wrap_key(region(to), &key(), &CONTEXT)).unwrap()
}

fn refused_alike(kms: &LocalKms, wrapped: &[u8], context: &EncryptionContext) -> bool {
    matches!(now(kms.unwrap_key(wrapped, context)), Err(KmsError::Malformed))
}

#[test]
fn a_key_wrapped_for_a_region_opens_there() {
    let (west, east) = two_regions();
    let opened = now(east.unwrap_key(&wrap(&west, "east"), &CONTEXT)).unwrap();
    assert_eq!(opened.expose(), key().expose());
    let own = now(west.unwrap_key(&wrap(&west, "west"), &CONTEXT)).unwrap();
    assert_eq!(own.expose(), key().expose());
}

#[test]
fn a_key_wrapped_for_one_region_opens_in_no_other() {
    let (west, east) = two_regions();
    assert!(refused_alike(&west, &wrap(&west, "east"), &CONTEXT));
    assert!(refused_alike(&east, &wrap(&west, "west"), &CONTEXT));
}

#[test]
fn the_region_is_bound_in_even_where_two_regions_share_a_key_pair() {
    let (west, _) = two_regions();
    let twin = LocalKms::new(region("east"), secret(1), []);
    assert!(refused_alike(&twin, &wrap(&west, "west"), &CONTEXT));
}

#[test]
fn another_context_does_not_open() {
    let (west, east) = two_regions();
    let wrapped = wrap(&west, "east");
    let deployment = EncryptionContext { deployment: DeploymentId([9; 16]), ..CONTEXT };
    let other_key = EncryptionContext { key: BranchKeyId([9; 16]), ..CONTEXT };
    let swapped = EncryptionContext {
        deployment: DeploymentId(CONTEXT.key.0),
        key: BranchKeyId(CONTEXT.deployment.0),
        ..CONTEXT
    };
    for wrong in [deployment, other_key, swapped] {
        assert!(refused_alike(&east, &wrapped, &wrong), "{wrong:?} opened it");
    }
}

#[test]
fn every_single_changed_bit_is_refused_with_the_same_error() {
    let (west, east) = two_regions();
    let wrapped = wrap(&west, "east");
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(refused_alike(&east, &changed, &CONTEXT), "bit {bit} does not count");
    }
}

#[test]
fn every_other_length_is_refused_with_the_same_error() {
    let (west, east) = two_regions();
    let wrapped = wrap(&west, "east");
    assert_eq!(wrapped.len(), WRAPPED_BYTES);
    for len in 0..wrapped.len() {
        assert!(refused_alike(&east, &wrapped[..len], &CONTEXT), "{len} bytes were taken");
    }
    let longer = [&*wrapped, &[0]].concat();
    assert!(refused_alike(&east, &longer, &CONTEXT));
}

#[test]
fn an_encapsulated_key_of_low_order_is_refused_with_the_same_error() {
    let (_, east) = two_regions();
    let mut wrapped = [0; WRAPPED_BYTES];
    wrapped[0] = VERSION;
    assert!(refused_alike(&east, &wrapped, &CONTEXT));
}

#[test]
fn two_wrappings_of_one_key_differ() {
    let (west, _) = two_regions();
    assert_ne!(wrap(&west, "east"), wrap(&west, "east"));
}

#[test]
fn a_region_nobody_told_of_is_named() {
    let (west, _) = two_regions();
    let answer = now(west.wrap_key(region("south"), &key(), &CONTEXT));
    assert!(matches!(answer, Err(KmsError::NoSuchRegion(named)) if named == region("south")));
}

#[test]
fn without_randomness_nothing_is_wrapped_and_it_may_be_asked_again() {
    let (west, _) = two_regions();
    let answer =
        west.wrap_with(region("east"), &key(), &CONTEXT, |_| Err(getrandom::Error::UNSUPPORTED));
    assert!(matches!(answer, Err(KmsError::Unavailable { .. })));
}

#[test]
fn a_region_key_that_gives_no_secret_is_refused_for_an_operator_to_see() {
    let low_order = "00".repeat(PUBLIC_BYTES).parse().unwrap();
    let west = LocalKms::new(region("west"), secret(1), [(region("east"), low_order)]);
    let answer = now(west.wrap_key(region("east"), &key(), &CONTEXT));
    assert!(matches!(answer, Err(KmsError::Refused { .. })));
}

#[test]
fn peers_cannot_replace_the_regions_own_public_half() {
    let west = LocalKms::new(region("west"), secret(1), [(region("west"), secret(7).public())]);
    let opened = now(west.unwrap_key(&wrap(&west, "west"), &CONTEXT)).unwrap();
    assert_eq!(opened.expose(), key().expose());
}

/// Written by version 1 with randomness 0x07. It opens for ever.
const GOLDEN: &str = concat!(
    "015fd47633b5e43fca7bad1bfbe424feacb175d9d4d4a30f166dbd30636f0b446b8f76bc63329ea2f8765e9b959e",
    "0d0dc0a31cd4b68594c31a31ccc560c182710c127dd7fe7d6777bfa4b09e0dacf87600",
);

#[test]
fn the_format_stays_as_it_was_to_the_byte() {
    let (west, east) = two_regions();
    let fixed = |bytes: &mut [u8]| {
        bytes.fill(7);
        Ok(())
    };
    let wrapped = west.wrap_with(region("east"), &key(), &CONTEXT, fixed).unwrap();
    assert_eq!(hex::encode(&wrapped), GOLDEN);
    let opened = now(east.unwrap_key(&hex::decode(GOLDEN).unwrap(), &CONTEXT)).unwrap();
    assert_eq!(opened.expose(), key().expose());
}

#[test]
fn a_public_half_prints_what_it_parses_and_nothing_else_parses() {
    let public = secret(1).public();
    assert_eq!(public.to_string().parse(), Ok(public.clone()));
    let json = serde_json::to_string(&public).unwrap();
    assert_eq!(serde_json::from_str::<WrappingPublicKey>(&json).unwrap(), public);
    for wrong in ["", "zz", &"00".repeat(31), &"00".repeat(33)] {
        assert_eq!(wrong.parse::<WrappingPublicKey>(), Err(InvalidWrappingKey));
    }
}

#[test]
fn a_private_half_never_shows_in_debug() {
    assert_eq!(format!("{:?}", secret(1)), "WrappingSecret([redacted])");
    let (west, _) = two_regions();
    assert!(format!("{west:?}").contains("secret: WrappingSecret([redacted])"));
}
