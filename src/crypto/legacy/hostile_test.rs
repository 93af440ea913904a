//! What hostile input can do to the formats: nothing. Hashes of every format, torn apart and put
//! together at random, and what is admitted of them costs no more than is said.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::cost::MAX_MICROS_FOR_LENGTH;
use super::*;

const VECTORS: [&str; 2] = [
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/legacy-hashes.jsonl")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/more-hashes.jsonl")),
];

/// More than any admitted hash costs for a usual password, in microseconds: scrypt with all that is
/// allowed, or PBKDF2 with SHA-1 for four blocks of key.
const MOST: u32 = 6_000_000;

/// A hash, its salt and its profile.
type Sample = (String, Option<String>, Option<HashProfile>);

/// All vectors of the first file and some of the second.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let lines = VECTORS[0].lines().chain(VECTORS[1].lines().step_by(13));
    let samples = lines.map(|line| {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let profile = &vector["profile"];
        let profile = (!profile.is_null()).then(|| profile.to_string());
        let profile = profile.map(|json| HashProfile::from_json(json.as_bytes()).unwrap());
        let text = |name: &str| vector[name].as_str().map(str::to_owned);
        (text("hash").unwrap(), text("salt"), profile)
    });
    samples.collect()
});

/// A profile of each scheme that the samples have.
static PROFILES: LazyLock<Vec<HashProfile>> = LazyLock::new(|| {
    let mut seen = BTreeSet::new();
    let found = SAMPLES.iter().filter_map(|(.., profile)| profile.clone());
    let scheme = |profile: &HashProfile| {
        let json = profile.canonical_bytes().unwrap();
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()["scheme"].to_string()
    };
    found.filter(|profile| seen.insert(scheme(profile))).collect()
});

/// What hostile people write in the place of a number.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "+1",
    "31",
    "999999",
    "2147483648",
    "4294967296",
    "18446744073709551616",
    "",
    "1e9",
    "٣",
];

/// What happens to a text.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index, Index),
    Insert(Index, String),
    Repeat(Index, Index),
    Number(Index, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Cut(from, to)),
        (any::<Index>(), "[$:{}=,._a-zA-Z0-9\u{e9}\\\\\"]{1,3}")
            .prop_map(|(at, text)| Damage::Insert(at, text)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (any::<Index>(), select(&NUMBERS[..])).prop_map(|(at, text)| Damage::Number(at, text)),
    ]
}

fn damaged(text: &str, damage: &Damage) -> String {
    let letters: Vec<char> = text.chars().collect();
    let place = |index: &Index| index.index(letters.len() + 1);
    let span = |from: &Index, to: &Index| {
        let (from, to) = (place(from), place(to));
        (from.min(to), from.max(to))
    };
    let joined = |parts: &[&[char]]| parts.concat().into_iter().collect();
    match damage {
        Damage::Cut(from, to) => {
            let (from, to) = span(from, to);
            joined(&[&letters[..from], &letters[to..]])
        }
        Damage::Insert(at, more) => {
            let (at, more) = (place(at), more.chars().collect::<Vec<_>>());
            joined(&[&letters[..at], &more, &letters[at..]])
        }
        Damage::Repeat(from, to) => {
            let (from, to) = span(from, to);
            joined(&[&letters[..to], &letters[from..]])
        }
        Damage::Number(at, number) => {
            let numbers: Vec<_> = text
                .split(|letter: char| !letter.is_ascii_digit())
                .filter(|run| !run.is_empty())
                .collect();
            if numbers.is_empty() {
                return text.to_owned();
            }
            text.replacen(numbers[at.index(numbers.len())], number, 1)
        }
    }
}

fn check(admitted: Result<LegacyHash, HashRejected>) -> Result<(), TestCaseError> {
    let Ok(hash) = admitted else { return Ok(()) };
    let cost = hash.hash.cost(USUAL_PASSWORD_BYTES);
    prop_assert!((1..=MOST).contains(&cost), "{:?} costs {}", hash, cost);
    // However long a password is, what is computed for it is bounded by what is said.
    let long = Password::new("p".repeat(MAX_PASSWORD_BYTES));
    let most = cost.max(MAX_MICROS_FOR_LENGTH).saturating_mul(hash.recipe.attempts());
    prop_assert!(hash.cost_for(&long) <= most, "{:?}", hash);
    let longer = Password::new("p".repeat(MAX_PASSWORD_BYTES + 1));
    prop_assert_eq!(hash.cost_for(&longer), 0);
    // Those that are cheap are computed as well: it must not panic.
    if cost < 500 {
        verify(&hash, &Password::new("p\u{e9}".to_owned()));
    }
    Ok(())
}

/// Nothing is read of a text beyond the bound, whatever its format: what a format allocates is no
/// more than the text is long, so that is bounded, too.
#[test]
fn no_format_reads_a_longer_text() {
    for (hash, salt, profile) in SAMPLES.iter() {
        let (salt, profile, limits) = (salt.as_deref(), profile.as_ref(), Limits::default());
        assert!(admit(hash, salt, profile, limits).is_ok(), "{hash}");
        let long = format!("{hash}{}", "x".repeat(MAX_HASH_BYTES));
        assert_eq!(admit(&long, salt, profile, limits).unwrap_err(), HashRejected::TooLong);
        let long = "x".repeat(MAX_SALT_BYTES + 1);
        assert_eq!(admit(hash, Some(&long), profile, limits).unwrap_err(), HashRejected::TooLong);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_hashes_panic_nowhere_and_cost_what_is_said(
        chosen in any::<Index>(),
        damages in prop::collection::vec(damage(), 1..4),
        other in any::<Index>(),
    ) {
        let (hash, salt, profile) = &SAMPLES[chosen.index(SAMPLES.len())];
        let hash = damages.iter().fold(hash.clone(), |text, damage| damaged(&text, damage));
        let limits = Limits::default();
        check(admit(&hash, salt.as_deref(), profile.as_ref(), limits))?;
        // And under a profile of another format.
        let profile = &PROFILES[other.index(PROFILES.len())];
        check(admit(&hash, salt.as_deref(), Some(profile), limits))?;
        check(admit(&hash, None, None, limits))?;
    }

    #[test]
    fn any_text_under_any_profile_panics_nowhere(
        hash in any::<String>(),
        salt in any::<Option<String>>(),
        prefix in select(PREFIXES),
        tail in "[$:./=0-9a-zA-Z]{0,120}",
    ) {
        let limits = Limits::default();
        for profile in PROFILES.iter() {
            check(admit(&hash, salt.as_deref(), Some(profile), limits))?;
        }
        check(admit(&format!("{prefix}{tail}"), salt.as_deref(), None, limits))?;
        let password = Password::new("p".to_owned());
        let found = doctor::suspects(&hash, salt.as_deref(), Some("pepper"), &password, limits);
        if let Ok(found) = found {
            prop_assert!(found.len() < 500);
        }
    }
}

/// How hashes that describe themselves begin.
const PREFIXES: &[&str] = &[
    "$2y$10$",
    "$wp$2y$04$",
    "$P$B",
    "$H$9",
    "$S$D",
    "U$S$9",
    "pbkdf2_sha256$10$",
    "scrypt$16$",
    "argon2$argon2id$v=19$m=64,t=1,p=1$",
    "$argon2id$v=19$m=64,t=1,p=1$",
    "{SSHA}",
    "{crypt}$1$",
    "$1$",
    "$apr1$",
    "$sha1$10$",
    "$5$rounds=1000$",
    "$6$",
    "$y$j75$",
    "$y$j",
    "$7$",
    "$7$6....",
    "$pbkdf2-sha256$10$",
    "0123456789abcdef0123456789abcdef:",
    "{SHA256}",
    "{\"credentialData\":",
];
