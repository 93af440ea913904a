//! Tests of the pool: what jobs give, that it stays bounded, and that nothing kills it.

use super::*;
use crate::crypto::legacy::{self, HashProfile};
use crate::crypto::secret::{self, Cost, Password, PasswordRefused, SecretHash};

fn pool(threads: usize, queue: usize) -> HashPool {
    let config = PoolConfig {
        threads: NonZeroUsize::new(threads).unwrap(),
        queue: NonZeroUsize::new(queue).unwrap(),
    };
    HashPool::start(config).unwrap()
}

fn cost(cost: u32) -> Cost {
    Cost::new(cost).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

fn secret(text: &str, at: u32) -> CandidateHash {
    CandidateHash::Secret(secret::hash(&password(text), cost(at)).unwrap())
}

fn md5(hex: &str) -> CandidateHash {
    let profile = HashProfile::from_json(br#"{"scheme":"digest","digest":"md5"}"#).unwrap();
    CandidateHash::Legacy(legacy::admit(hex, None, Some(&profile)).unwrap())
}

/// MD5 of `p`.
const MD5_OF_P: &str = "83878c91171338902e0fe0fb97a8c47a";

fn tagged(hashes: Vec<CandidateHash>) -> Vec<Candidate> {
    (100..).zip(hashes).map(|(tag, hash)| Candidate { tag, hash }).collect()
}

fn verify(text: &str, hashes: Vec<CandidateHash>, budget: Budget) -> Job {
    Job::Verify { password: password(text), candidates: tagged(hashes), budget }
}

fn run(job: Job) -> Outcome {
    pool(1, 1).try_submit(job).unwrap().blocking_recv().unwrap().outcome
}

const AMPLE: Budget = Budget::from_millis(10_000);

#[test]
fn a_hash_job_makes_a_secret_or_says_why_not() {
    let Outcome::Hashed(made) = run(Job::Hash { password: password("p"), cost: cost(4) }) else {
        panic!("no hash");
    };
    assert!(secret::verify(&password("p"), &made));
    let refused = run(Job::Hash { password: password(""), cost: cost(4) });
    assert_eq!(refused, Outcome::Refused(PasswordRefused::Empty));
}

#[test]
fn a_verify_job_names_the_candidate() {
    let hashes = vec![secret("other", 4), md5(MD5_OF_P), secret("p", 4)];
    let matched = run(verify("p", hashes.clone(), AMPLE));
    assert_eq!(matched, Outcome::Matched { index: 1, tag: 101, upgrade: None });
    assert_eq!(run(verify("q", hashes, AMPLE)), Outcome::Mismatched);
    assert_eq!(run(verify("p", Vec::new(), AMPLE)), Outcome::Mismatched);
}

#[test]
fn the_budget_stops_but_not_before_the_first() {
    let hashes = vec![secret("other", 4), md5(MD5_OF_P)];
    let none = Budget::from_micros(0);
    assert_eq!(run(verify("p", hashes.clone(), none)), Outcome::BudgetExhausted { tried: 1 });
    assert!(matches!(run(verify("other", hashes, none)), Outcome::Matched { index: 0, .. }));
}

#[test]
fn equal_candidates_cost_once() {
    let same = secret("other", 4);
    let budget = Budget::from_micros(same.relative_cost() + 1);
    let hashes = vec![same.clone(), same.clone(), same, md5(MD5_OF_P)];
    assert!(matches!(run(verify("p", hashes, budget)), Outcome::Matched { index: 3, .. }));
}

#[test]
fn an_upgrade_comes_with_the_login_that_needs_it() {
    let upgraded = |text: &str, hash| {
        let candidates = tagged(vec![hash]);
        let password = password(text);
        match run(Job::VerifyThenHash { password, candidates, budget: AMPLE, cost: cost(5) }) {
            Outcome::Matched { upgrade, .. } => upgrade,
            other => panic!("{other:?}"),
        }
    };
    let is_current =
        |made: SecretHash| made.cost() == cost(5) && secret::verify(&password("p"), &made);
    assert!(upgraded("p", md5(MD5_OF_P)).is_some_and(is_current));
    assert!(upgraded("p", secret("p", 4)).is_some_and(is_current));
    assert_eq!(upgraded("p", secret("p", 5)), None);
    assert_eq!(upgraded("p", secret("p", 6)), None);
    // Its owner logs in with what cannot be a secret.
    assert_eq!(upgraded("", md5("d41d8cd98f00b204e9800998ecf8427e")), None);
}

/// The pool's own queue without threads: what is queued stays.
fn unstaffed(queue: usize) -> HashPool {
    let one = NonZeroUsize::MIN;
    let config = PoolConfig { threads: one, queue: NonZeroUsize::new(queue).unwrap() };
    HashPool { shared: Arc::new(Shared::new(config, Job::run)), threads: Mutex::default() }
}

fn cheap() -> Job {
    verify("q", vec![md5(MD5_OF_P)], AMPLE)
}

#[test]
fn slowness_is_what_jobs_took_over_what_was_estimated() {
    let mut state = State::default();
    let ms = Duration::from_millis;
    let mut finish = |took, work_ms: u32, outcome: &Outcome| {
        state.running += 1;
        state.finish(took, work_ms * 1000, outcome)
    };
    let wrong = Outcome::Mismatched;
    assert_eq!(finish(ms(900), 1, &wrong), 1000, "too little work to tell");
    assert_eq!(finish(ms(900), 60, &Outcome::BudgetExhausted { tried: 1 }), 1000);
    assert_eq!(finish(ms(120), 60, &wrong), 1000);
    assert_eq!(finish(ms(60), 60, &wrong), 2000);
    assert_eq!(finish(ms(180), 60, &wrong), 1875);
    for _ in 0..100 {
        finish(ms(180), 60, &wrong);
    }
    let slow = finish(ms(180), 60, &wrong);
    assert!((2900..=3000).contains(&slow), "{slow}");
    finish(ms(1_000_000_000), 5, &wrong);
    assert!(finish(ms(1), 5, &wrong) > slow, "nothing overflowed");
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let pool = unstaffed(2);
    let _waiting = [pool.try_submit(cheap()).unwrap(), pool.try_submit(cheap()).unwrap()];
    let overloaded = pool.try_submit(cheap()).unwrap_err();
    assert_eq!(overloaded.retry_after, FIRST_GUESS * 2);
    pool.shared.state().mean = Some(Duration::from_secs(50));
    assert_eq!(pool.try_submit(cheap()).unwrap_err().retry_after, MAX_RETRY_AFTER);
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.queued, snapshot.rejected, snapshot.capacity), (2, 2, 2));
}

#[test]
fn what_nobody_waits_for_is_skipped() {
    let pool = unstaffed(3);
    drop(pool.try_submit(cheap()).unwrap());
    let kept = pool.try_submit(cheap()).unwrap();
    let waiting = pool.shared.next().unwrap();
    assert!(!waiting.reply.is_closed());
    assert_eq!(pool.snapshot().skipped, 1);
    assert_eq!(pool.snapshot().running, 1);
    drop(kept);
}

#[test]
fn shutdown_ends_threads_and_drops_what_waits() {
    let pool = pool(2, 64);
    let receivers: Vec<_> = (0..32)
        .map(|_| pool.try_submit(Job::Hash { password: password("p"), cost: cost(6) }).unwrap())
        .collect();
    pool.shutdown();
    assert!(lock(&pool.threads).is_empty());
    assert!(pool.try_submit(cheap()).is_err());
    let done = receivers.into_iter().filter_map(|receiver| receiver.blocking_recv().ok()).count();
    let snapshot = pool.snapshot();
    assert_eq!(u64::try_from(done).unwrap(), snapshot.done);
    assert_eq!((snapshot.queued, snapshot.running), (0, 0));
    pool.shutdown();
}

#[test]
fn a_panic_is_an_outcome_and_the_thread_goes_on() {
    let config = PoolConfig { threads: NonZeroUsize::MIN, queue: NonZeroUsize::MIN };
    let pool = HashPool::start_with(config, |job| match job {
        Job::Hash { .. } => panic!("hostile input"),
        other => other.run(),
    });
    let pool = pool.unwrap();
    let hostile = Job::Hash { password: password("p"), cost: cost(4) };
    let outcome = pool.try_submit(hostile).unwrap().blocking_recv().unwrap().outcome;
    assert_eq!(outcome, Outcome::Failed(Failure::Panicked));
    let outcome = pool.try_submit(cheap()).unwrap().blocking_recv().unwrap().outcome;
    assert_eq!(outcome, Outcome::Mismatched);
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.done, snapshot.failed, snapshot.running), (2, 1, 0));
}

#[test]
fn many_jobs_on_few_threads_all_end() {
    let pool = pool(2, 256);
    let receivers: Vec<_> = (0..200).map(|_| pool.try_submit(cheap()).unwrap()).collect();
    for receiver in receivers {
        assert_eq!(receiver.blocking_recv().unwrap().outcome, Outcome::Mismatched);
    }
    assert_eq!(pool.snapshot().done, 200);
}

#[test]
fn a_snapshot_is_plain_data() {
    let snapshot = serde_json::to_value(unstaffed(7).snapshot()).unwrap();
    assert_eq!(snapshot["capacity"], 7);
    assert_eq!(snapshot["queued"], 0);
}

#[test]
fn a_job_prints_no_secret() {
    let shown = format!("{:?}", verify("hunter2", vec![md5(MD5_OF_P)], AMPLE));
    assert!(shown.contains("[redacted]"));
    assert!(!shown.contains("hunter2") && !shown.contains(MD5_OF_P));
}
