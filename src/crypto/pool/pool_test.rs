//! Tests of the pool: what jobs give, that it stays bounded, and that nothing kills it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::course::Step;
use super::*;
use crate::crypto::legacy::{self, HashProfile, Limits};
use crate::crypto::secret::{self, Cost, Password, PasswordRefused, SecretHash};

/// Nothing is refused for its wait.
const EVER: Duration = Duration::from_hours(1);

const A: Share = Share::new(1);
const B: Share = Share::new(2);

fn config(threads: usize, queue: usize, max_wait: Duration) -> PoolConfig {
    let at_least_one = |count| NonZeroUsize::new(count).unwrap();
    PoolConfig {
        threads: at_least_one(threads),
        lanes: at_least_one(1),
        queue: at_least_one(queue),
        max_wait,
    }
}

fn pool(threads: usize, queue: usize) -> HashPool {
    HashPool::start(config(threads, queue, EVER)).unwrap()
}

impl HashPool {
    /// A login of the first share.
    fn login(&self, job: Job) -> Result<oneshot::Receiver<Computed>, Overloaded> {
        self.try_submit(A, Priority::Login, job)
    }
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
    CandidateHash::Legacy(legacy::admit(hex, None, Some(&profile), Limits::default()).unwrap())
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
    pool(1, 2).login(job).unwrap().blocking_recv().unwrap().outcome
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
fn a_budget_that_is_shared_is_not_exceeded() {
    let budget = Budget::from_micros(10);
    assert_eq!(budget.shared_by(1), budget);
    assert_eq!(budget.shared_by(3), Budget::from_micros(3));
    assert_eq!(budget.shared_by(0), budget);
}

#[test]
fn a_probe_names_all_and_leaves_out_what_is_too_much() {
    let probe = |hashes, budget| {
        run(Job::Probe { password: password("p"), candidates: tagged(hashes), budget })
    };
    let hashes = vec![md5(MD5_OF_P), secret("other", 4), secret("p", 4), md5(MD5_OF_P)];
    let all = Outcome::Probed { matched: vec![0, 2, 3], complete: true };
    assert_eq!(probe(hashes.clone(), AMPLE), all);
    let cheap = Outcome::Probed { matched: vec![0, 3], complete: false };
    assert_eq!(probe(hashes.clone(), Budget::from_micros(3)), cheap);
    let first = vec![secret("p", 4), md5(MD5_OF_P)];
    let only = Outcome::Probed { matched: vec![0], complete: false };
    assert_eq!(probe(first, Budget::from_micros(0)), only);
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

/// A pool without threads: what is queued stays.
fn unstaffed(queue: usize) -> HashPool {
    HashPool { executor: Executor::without_threads(config(1, queue, EVER), course::begin) }
}

fn cheap() -> Job {
    verify("q", vec![md5(MD5_OF_P)], AMPLE)
}

fn costly() -> Job {
    Job::Hash { password: password("p"), cost: cost(10) }
}

#[test]
fn a_full_line_is_full_for_its_share_alone_and_says_when_to_come_back() {
    let pool = unstaffed(4);
    let _waiting = [pool.login(costly()).unwrap(), pool.login(costly()).unwrap()];
    let overloaded = pool.login(costly()).unwrap_err();
    let work = Duration::from_micros(2 * u64::from(cost(10).relative_cost()));
    assert_eq!(overloaded.retry_after, work);
    let _other = pool.try_submit(B, Priority::Login, costly()).unwrap();
    let _background = pool.try_submit(A, Priority::Background, costly()).unwrap();
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.queued, snapshot.rejected, snapshot.capacity), (4, 1, 4));
    assert_eq!(snapshot.backlog, work / 2 * 3);
}

#[test]
fn who_would_wait_too_long_is_told_at_once() {
    let one = Duration::from_micros(u64::from(cost(10).relative_cost()));
    let config = config(1, 100, one * 2);
    let pool = HashPool { executor: Executor::without_threads(config, course::begin) };
    let _waiting: Vec<_> = (0..3).map(|_| pool.login(costly()).unwrap()).collect();
    assert_eq!(pool.login(costly()).unwrap_err(), Overloaded { retry_after: one * 3 });
    let _other = pool.try_submit(B, Priority::Login, costly()).unwrap();
}

/// What the threads of a test's pool compute is let go one by one.
struct Gate {
    started: Receiver<String>,
    go: Sender<()>,
}

/// Only one test may hold it: jobs are computed by a plain function.
static GATE: std::sync::Mutex<Option<(Sender<String>, Receiver<()>)>> = std::sync::Mutex::new(None);

fn gated(job: Job) -> Step {
    let Job::Hash { password, .. } = job else { return Step::Done(Outcome::Mismatched) };
    let gate = GATE.lock().unwrap();
    let (started, go) = gate.as_ref().unwrap();
    started.send(password.expose().to_owned()).unwrap();
    go.recv().unwrap();
    Step::Done(Outcome::Mismatched)
}

impl Gate {
    fn set() -> Self {
        let ((starting, started), (go, going)) = (channel(), channel());
        *GATE.lock().unwrap() = Some((starting, going));
        Self { started, go }
    }

    /// Which job is running; it ends.
    fn next(&self) -> String {
        let name = self.started.recv().unwrap();
        self.go.send(()).unwrap();
        name
    }
}

#[test]
fn a_flood_of_one_share_holds_up_another_by_what_runs_and_background_work_by_all() {
    let gate = Gate::set();
    let executor = Executor::start(config(1, 100, EVER), gated).unwrap();
    let pool = HashPool { executor };
    let named = |name: &str| Job::Hash { password: password(name), cost: cost(4) };
    let bulk = pool.try_submit(B, Priority::Background, named("bulk 1")).unwrap();
    // The thread has it before anything else comes.
    let first = gate.started.recv().unwrap();
    let more = pool.try_submit(B, Priority::Background, named("bulk 2")).unwrap();
    let flood: Vec<_> = (0..20).map(|_| pool.login(named("a")).unwrap()).collect();
    let login = pool.try_submit(B, Priority::Login, named("b")).unwrap();
    gate.go.send(()).unwrap();
    let order: Vec<_> = (0..22).map(|_| gate.next()).collect();
    assert_eq!(first, "bulk 1");
    let at = |name: &str| order.iter().position(|it| it == name);
    assert!(at("b").unwrap() <= 1, "{order:?}");
    assert_eq!(at("bulk 2"), Some(21), "{order:?}");
    for receiver in flood.into_iter().chain([bulk, more, login]) {
        assert_eq!(receiver.blocking_recv().unwrap().outcome, Outcome::Mismatched);
    }
}

#[test]
fn what_nobody_waits_for_is_skipped() {
    let pool = Arc::new(pool(1, 64));
    let running = pool.login(costly()).unwrap();
    for _ in 0..5 {
        drop(pool.login(costly()).unwrap());
    }
    let kept = pool.login(cheap()).unwrap();
    assert_eq!(kept.blocking_recv().unwrap().outcome, Outcome::Mismatched);
    assert!(matches!(running.blocking_recv().unwrap().outcome, Outcome::Hashed(_)));
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.skipped, snapshot.done, snapshot.running), (5, 2, 0));
}

#[test]
fn one_thread_has_several_under_way_and_the_cheap_one_does_not_wait_for_the_costly() {
    let config = PoolConfig { lanes: NonZeroUsize::new(4).unwrap(), ..config(1, 64, EVER) };
    let pool = HashPool::start(config).unwrap();
    let making = |at| Job::Hash { password: password("p"), cost: cost(at) };
    let mut costly = pool.login(making(12)).unwrap();
    let cheap: Vec<_> = (0..20).map(|_| pool.login(making(4)).unwrap()).collect();
    for receiver in cheap {
        let Outcome::Hashed(made) = receiver.blocking_recv().unwrap().outcome else {
            panic!("no hash")
        };
        assert!(secret::verify(&password("p"), &made));
    }
    // Cost 12 takes 256 times the steps of cost 4, of which there were five rounds.
    assert!(costly.try_recv().is_err(), "the costly one ended first");
    let Outcome::Hashed(made) = costly.blocking_recv().unwrap().outcome else { panic!("no hash") };
    assert!(secret::verify(&password("p"), &made));
}

#[test]
fn a_job_of_many_bcrypts_goes_through_all_of_them() {
    let mut hashes: Vec<_> = (0..9).map(|number| secret(&format!("other {number}"), 4)).collect();
    hashes.push(secret("p", 4));
    let job = Job::VerifyThenHash {
        password: password("p"),
        candidates: tagged(hashes),
        budget: AMPLE,
        cost: cost(5),
    };
    let Outcome::Matched { index: 9, tag: 109, upgrade: Some(made) } = run(job) else {
        panic!("the last was not found")
    };
    assert_eq!(made.cost(), cost(5));
    assert!(secret::verify(&password("p"), &made));
}

#[test]
fn shutdown_ends_threads_and_drops_what_waits() {
    let pool = pool(2, 64);
    let receivers: Vec<_> = (0..32)
        .map(|_| pool.login(Job::Hash { password: password("p"), cost: cost(6) }).unwrap())
        .collect();
    pool.shutdown();
    assert!(pool.login(cheap()).is_err());
    let done = receivers.into_iter().filter_map(|receiver| receiver.blocking_recv().ok()).count();
    let snapshot = pool.snapshot();
    assert_eq!(u64::try_from(done).unwrap(), snapshot.done);
    assert_eq!((snapshot.queued, snapshot.running), (0, 0));
    pool.shutdown();
}

#[test]
fn a_panic_is_an_outcome_and_the_thread_goes_on() {
    let executor = Executor::start(config(1, 2, EVER), |job| match job {
        Job::Hash { .. } => panic!("hostile input"),
        other => course::begin(other),
    });
    let pool = HashPool { executor: executor.unwrap() };
    let hostile = Job::Hash { password: password("p"), cost: cost(4) };
    let outcome = pool.login(hostile).unwrap().blocking_recv().unwrap().outcome;
    assert_eq!(outcome, Outcome::Failed(Failure::Panicked));
    let outcome = pool.login(cheap()).unwrap().blocking_recv().unwrap().outcome;
    assert_eq!(outcome, Outcome::Mismatched);
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.done, snapshot.failed, snapshot.running), (2, 1, 0));
}

#[test]
fn many_jobs_on_few_threads_all_end() {
    let pool = pool(2, 512);
    let receivers: Vec<_> = (0..200).map(|_| pool.login(cheap()).unwrap()).collect();
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
