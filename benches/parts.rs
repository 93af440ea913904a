//! The small parts by themselves: hashes side by side, codec, fold, seals, tokens.
//!
//! ```text
//! cargo bench --bench parts                 all of them
//! cargo bench --bench parts -- bcrypt       those with this word in their names
//! ```
//!
//! The log by itself is in `scripts/bench log`, folding a whole log, too.

#![expect(clippy::expect_used, reason = "a bench stops where what it measures is not there")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Bcrypts side by side in one thread, beside the `bcrypt` crate: look at items a second.
mod bcrypt_lanes {
    use super::{Bencher, ItemsCount, black_box};
    use bcrypt_lanes::{LANES, Lanes, Work};

    const COSTS: [u32; 3] = [4, 10, 12];
    const SIDE_BY_SIDE: [usize; 7] = [1, 2, 3, 4, 5, 6, LANES];
    const PASSWORD: &[u8] = b"correct horse battery staple";

    #[divan::bench(args = COSTS)]
    fn the_crate(bencher: Bencher<'_, '_>, cost: u32) {
        let bencher = bencher.counter(ItemsCount::new(1_usize));
        bencher.bench(|| bcrypt::bcrypt(cost, [5; 16], black_box(PASSWORD)));
    }

    #[divan::bench(args = SIDE_BY_SIDE, consts = COSTS)]
    fn lanes<const COST: u32>(bencher: Bencher<'_, '_>, lanes: usize) {
        let work = Work::new(COST, [5; 16], PASSWORD);
        let mut all = Lanes::default();
        bencher.counter(ItemsCount::new(lanes)).bench_local(|| {
            for name in 0..lanes {
                all.join(name, work.clone()).expect("a free lane");
            }
            let mut done = 0;
            while done < lanes {
                all.step(|_, digest| {
                    black_box(digest);
                    done += 1;
                });
            }
        });
    }
}

/// Events in bytes, and what they do to a state.
mod events {
    use super::{Bencher, ItemsCount, black_box};
    use jcas::events::codec;
    use jcas::events::evolve::evolve;
    use jcas::events::ids::UserId;
    use jcas::events::record::{Fact, Header, Record};
    use jcas::events::state::UserState;

    /// A record that a version wrote: see tests/golden.
    fn record(name: &str) -> Record {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");
        let read = |end: &str| std::fs::read(format!("{folder}/{name}.{end}")).expect("a sample");
        Record { header: read("header.bin").into(), body: Some(read("body.bin").into()) }
    }

    const KINDS: [&str; 4] =
        ["01-UserRegistered", "04-IdentityClaimed", "06-PasswordSet", "08-ProfileUpdated"];

    fn decoded(name: &str) -> (Header, Fact) {
        codec::decode_record(&record(name)).expect("a sample decodes")
    }

    #[divan::bench(args = KINDS)]
    fn decode(bencher: Bencher<'_, '_>, kind: &str) {
        let record = record(kind);
        let bencher = bencher.counter(ItemsCount::new(1_usize));
        bencher.bench(|| codec::decode_record(black_box(&record)));
    }

    #[divan::bench(args = KINDS)]
    fn encode(bencher: Bencher<'_, '_>, kind: &str) {
        let (header, fact) = decoded(kind);
        let event = fact.event.expect("it has a body");
        bencher.counter(ItemsCount::new(1_usize)).bench(|| {
            let body = codec::encode_body([7; 16], black_box(&event));
            (body, codec::encode_header(black_box(&header)))
        });
    }

    #[divan::bench(args = KINDS)]
    fn fold(bencher: Bencher<'_, '_>, kind: &str) {
        let (_, fact) = decoded(kind);
        let bencher = bencher.counter(ItemsCount::new(1_usize));
        bencher
            .with_inputs(UserState::default)
            .bench_refs(|state| evolve(state, UserId::from_bytes([1; 16]), black_box(&fact)));
    }
}

/// A value of a user, as every write seals and every read opens it.
mod sealing {
    use super::{Bencher, black_box};
    use jcas::crypto::sealing::{Context, UserKey, open, seal};

    const BYTES: [usize; 3] = [16, 256, 4096];
    const CONTEXT: Context<'static> =
        Context { deployment: [1; 16], subject: [2; 16], register: b"given_name", profile: None };

    #[divan::bench(args = BYTES)]
    fn sealed(bencher: Bencher<'_, '_>, bytes: usize) {
        let (key, clear) = (UserKey::from_bytes([7; 32]), vec![b'a'; bytes]);
        bencher.bench(|| seal(&key, &CONTEXT, black_box(&clear)));
    }

    #[divan::bench(args = BYTES)]
    fn opened(bencher: Bencher<'_, '_>, bytes: usize) {
        let key = UserKey::from_bytes([7; 32]);
        let sealed = seal(&key, &CONTEXT, &vec![b'a'; bytes]).expect("it seals");
        bencher.bench(|| open(&key, &CONTEXT, black_box(&sealed)));
    }
}

/// The signature of a company's call.
mod tokens {
    use super::{Bencher, black_box};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ed25519_dalek::Signer as _;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use jcas::crypto::jws::TokenKey;

    /// As long as a look-up's.
    const MESSAGE: &str = concat!(
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxMjM0NTY3ODlhYmNkZWYifQ.eyJpc3MiOiJzaG9wIiwiYXVkIjoiamNhcz",
        "pkZW1vIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3NjcyMjU2NjAsImp0aSI6IkFBQUFBQUFBQUFBQUFBQUFBQUFB",
        "QUEiLCJtdGgiOiJQT1NUIiwicHRoIjoiL3YxL3VzZXJzL2xvb2t1cCIsInJlcSI6eyJlbWFpbCI6ImFAZXhhbXBsZS",
        "5jb20ifX0"
    );

    #[divan::bench]
    fn hs256(bencher: Bencher<'_, '_>) {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&[7; 32]).expect("a key");
        mac.update(MESSAGE.as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let key = TokenKey::hs256(&[7; 32]);
        bencher.bench(|| assert!(key.verifies(black_box(MESSAGE), black_box(&tag))));
    }

    #[divan::bench]
    fn ed_dsa(bencher: Bencher<'_, '_>) {
        let pair = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(MESSAGE.as_bytes()).to_bytes());
        let key = TokenKey::ed_dsa(pair.verifying_key().as_bytes());
        bencher.bench(|| assert!(key.verifies(black_box(MESSAGE), black_box(&signature))));
    }
}
