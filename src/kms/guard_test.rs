//! What a silent KMS costs, and what is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::events::ids::{BranchKeyId, DeploymentId};
use crate::kms::{KEY_BYTES, Purpose};

/// A clock that is set.
#[derive(Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.unix_ms())
    }
}

/// How a KMS answers.
#[derive(Clone, Copy)]
enum Manner {
    Answers,
    Refuses,
    NeverEnds,
}

struct Played {
    manner: Mutex<Manner>,
    asked: AtomicUsize,
}

impl Played {
    fn play<'a, T: Send + 'a>(&'a self, answer: T) -> KmsFuture<'a, T> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let manner = *self.manner.lock().unwrap();
        Box::pin(async move {
            match manner {
                Manner::Answers => Ok(answer),
                Manner::Refuses => {
                    Err(KmsError::Refused { region: region("eu"), source: "disabled".into() })
                }
                Manner::NeverEnds => std::future::pending().await,
            }
        })
    }
}

impl Kms for Played {
    fn region(&self) -> RegionId {
        region("eu")
    }

    fn wrap_key<'a>(
        &'a self,
        _: RegionId,
        _: &'a KeyMaterial,
        _: &'a EncryptionContext,
    ) -> KmsFuture<'a, Box<[u8]>> {
        self.play(Box::default())
    }

    fn unwrap_key<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a EncryptionContext,
    ) -> KmsFuture<'a, KeyMaterial> {
        self.play(KeyMaterial::new(&[7; KEY_BYTES]))
    }

    fn sight(&self, _: &[u8], _: &EncryptionContext) -> Sight {
        Sight::Named
    }
}

fn region(name: &str) -> RegionId {
    name.parse().unwrap()
}

const CONTEXT: EncryptionContext = EncryptionContext {
    deployment: DeploymentId([1; 16]),
    purpose: Purpose::BranchKey,
    key: BranchKeyId([2; 16]),
};

struct Stage {
    kms: Arc<Played>,
    clock: Arc<SetClock>,
    guarded: Guarded,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn new(manner: Manner) -> Self {
        let kms = Arc::new(Played { manner: Mutex::new(manner), asked: AtomicUsize::new(0) });
        let clock = Arc::new(SetClock::default());
        let care = Care {
            deadline: Duration::from_millis(20),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(5),
        };
        let guarded = Guarded::new(Arc::clone(&kms) as _, care, Arc::clone(&clock) as _);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { kms, clock, guarded, runtime }
    }

    fn unwrap(&self) -> Result<KeyMaterial, KmsError> {
        self.runtime.block_on(self.guarded.unwrap_key(&[], &CONTEXT))
    }

    fn asked(&self) -> usize {
        self.kms.asked.load(Ordering::SeqCst)
    }

    fn pass(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    fn set(&self, manner: Manner) {
        *self.kms.manner.lock().unwrap() = manner;
    }

    fn silent_for_ms(&self) -> Option<u64> {
        self.guarded.standing()[&region("eu")].silent_for_ms
    }
}

#[test]
fn silence_costs_one_deadline_and_then_nothing_until_the_pause_is_over() {
    let stage = Stage::new(Manner::NeverEnds);
    assert!(stage.unwrap().unwrap_err().chain().contains("no answer within"));
    for _ in 0..50 {
        assert!(matches!(stage.unwrap(), Err(KmsError::Unavailable { .. })));
    }
    let standing = stage.guarded.standing()[&region("eu")].clone();
    assert_eq!((standing.unwraps, standing.unanswered, standing.spared), (1, 1, 50));
    assert_eq!(standing.silent_for_ms, Some(1000));
    assert!(stage.guarded.is_silent(region("eu")) && !stage.guarded.is_silent(region("us")));
}

#[test]
fn pauses_double_up_to_the_longest_and_an_answer_ends_them() {
    let stage = Stage::new(Manner::NeverEnds);
    for pause in [1000, 2000, 4000, 5000, 5000] {
        assert!(stage.unwrap().is_err());
        assert_eq!(stage.silent_for_ms(), Some(pause));
        stage.pass(pause);
    }
    stage.set(Manner::Answers);
    assert!(stage.unwrap().is_ok());
    assert_eq!(stage.silent_for_ms(), None);
    assert!(stage.unwrap().is_ok());
    stage.set(Manner::NeverEnds);
    assert!(stage.unwrap().is_err());
    assert_eq!(stage.silent_for_ms(), Some(1000), "the pauses begin anew");
}

#[test]
fn while_one_call_tries_the_others_are_spared() {
    let stage = Stage::new(Manner::NeverEnds);
    assert!(stage.unwrap().is_err());
    stage.pass(1000);
    let tried = stage.kms.asked.load(Ordering::SeqCst);
    // Made and given up before its end, as a caller that hangs up does.
    assert!(stage.guarded.admit(region("eu"), Call::Unwrap).is_ok());
    assert!(stage.guarded.admit(region("eu"), Call::Unwrap).is_err());
    stage.pass(20);
    assert!(stage.guarded.admit(region("eu"), Call::Unwrap).is_ok(), "another one may try");
    assert_eq!(stage.asked(), tried);
}

#[test]
fn a_refusal_is_an_answer() {
    let stage = Stage::new(Manner::Refuses);
    for _ in 0..3 {
        assert!(matches!(stage.unwrap(), Err(KmsError::Refused { .. })));
    }
    let standing = stage.guarded.standing()[&region("eu")].clone();
    assert_eq!((standing.unwraps, standing.refused, standing.unanswered), (3, 3, 0));
    assert!(standing.error.unwrap().contains("disabled"));
    stage.set(Manner::Answers);
    assert!(stage.unwrap().is_ok());
    assert_eq!(stage.guarded.standing()[&region("eu")].error, None);
}

#[test]
fn one_regions_silence_is_not_anothers() {
    let stage = Stage::new(Manner::NeverEnds);
    assert!(stage.unwrap().is_err());
    stage.set(Manner::Answers);
    let key = KeyMaterial::new(&[7; KEY_BYTES]);
    let wrap = |name| stage.runtime.block_on(stage.guarded.wrap_key(region(name), &key, &CONTEXT));
    assert!(wrap("us").is_ok());
    assert!(wrap("eu").is_err());
}
