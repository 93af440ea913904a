//! Whatever runs beside it, every bcrypt is the one that the `bcrypt` crate computes.
#![expect(clippy::indexing_slicing, reason = "a test ends where something is not as it should be")]

use bcrypt_lanes::{Digest, LANES, Lanes, PASSWORD_BYTES_MAX, Work};
use proptest::prelude::*;

/// What the `bcrypt` crate makes of it.
fn reference(cost: u32, salt: [u8; 16], password: &[u8]) -> [u8; 24] {
    let ended: Vec<u8> = password.iter().copied().chain([0]).take(PASSWORD_BYTES_MAX).collect();
    bcrypt::bcrypt(cost, salt, &ended)
}

/// One that joins the others at a step.
#[derive(Debug, Clone)]
struct Arrival {
    at_step: usize,
    cost: u32,
    salt: [u8; 16],
    password: Vec<u8>,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let password = prop::collection::vec(any::<u8>(), 0..=80);
    (0..200_usize, 4..=6_u32, any::<[u8; 16]>(), password)
        .prop_map(|(at_step, cost, salt, password)| Arrival { at_step, cost, salt, password })
}

/// Runs them all; who finds no lane free waits for one. Says how many ran side by side at most.
fn run(arrivals: &[Arrival]) -> (Vec<Option<Digest>>, usize) {
    let mut digests = vec![None; arrivals.len()];
    let mut waiting: Vec<usize> = (0..arrivals.len()).collect();
    let (mut lanes, mut step, mut widest) = (Lanes::default(), 0, 0);
    while !waiting.is_empty() || lanes.busy() > 0 {
        waiting.retain(|&number| {
            let Arrival { at_step, cost, salt, password } = &arrivals[number];
            let joins = *at_step <= step && lanes.busy() < LANES;
            if joins {
                let work = Work::new(*cost, *salt, password);
                assert!(lanes.join(number, work).is_ok(), "a free lane was refused");
            }
            !joins
        });
        widest = widest.max(lanes.busy());
        lanes.step(|number, digest| {
            let before = digests[number].replace(digest);
            assert!(before.is_none(), "one left twice");
        });
        step += 1;
    }
    (digests, widest)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_mix_of_lanes_gives_what_the_crate_gives(
        arrivals in prop::collection::vec(arrival(), 1..=20),
    ) {
        let (digests, _) = run(&arrivals);
        for (arrival, digest) in arrivals.iter().zip(digests) {
            let expected = reference(arrival.cost, arrival.salt, &arrival.password);
            prop_assert_eq!(digest.map(|digest| *digest), Some(expected));
        }
    }
}

#[test]
fn every_width_gives_what_the_crate_gives() {
    for width in 1..=LANES {
        let arrivals: Vec<_> = (0..width)
            .map(|number| Arrival {
                at_step: 0,
                cost: 5,
                salt: [u8::try_from(number).unwrap(); 16],
                password: vec![b'p'; number * 10],
            })
            .collect();
        let (digests, widest) = run(&arrivals);
        assert_eq!(widest, width);
        for (arrival, digest) in arrivals.iter().zip(digests) {
            let expected = reference(arrival.cost, arrival.salt, &arrival.password);
            assert_eq!(digest.map(|digest| *digest), Some(expected), "{width} side by side");
        }
    }
}

#[test]
fn a_ninth_is_given_back() {
    let mut lanes = Lanes::default();
    for number in 0..LANES {
        assert!(lanes.join(number, Work::new(4, [0; 16], b"p")).is_ok());
    }
    let refused = lanes.join(99, Work::new(4, [0; 16], b"p"));
    assert_eq!(refused, Err(99));
    assert_eq!(lanes.busy(), LANES);
}

#[test]
fn a_step_of_no_lanes_does_nothing() {
    Lanes::<()>::default().step(|(), _| panic!("nobody was there"));
}
