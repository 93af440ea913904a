//! What a job waits for, and for how long: whatever passes by itself, or when an operator mends it,
//! is waited for without end. Only what is wrong with one user's key is given up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::MutexGuard;

use crate::accounts::error::AccountError;
use crate::accounts::vault::KeyFailure;
use crate::actors::Unavailable;

use super::jobs::Job;
use super::run::PAUSE;

/// How long it waits for what is full at this moment only.
const SHORT_PAUSE: Duration = Duration::from_millis(5);

/// How long between two looks whether the KMS is there: each leaves a line in the log.
const KMS_PAUSE: Duration = Duration::from_secs(1);

/// How often a key that is not to be had, where the KMS is, is tried before a row is given up.
const KEY_TRIES: u32 = 40;

/// The job is to end first.
pub(super) struct Cancelled;

/// Who waits for what cannot be done now.
pub(super) struct Patience<'a> {
    job: &'a Job,
    keys_failed: u32,
    without_keys: bool,
    trying: Option<MutexGuard<'a, ()>>,
}

impl<'a> Patience<'a> {
    /// Somebody at work on a job.
    pub(super) const fn with(job: &'a Job) -> Self {
        Self { job, keys_failed: 0, without_keys: false, trying: None }
    }

    /// Waits for another try. False where it is no use.
    pub(super) async fn wait(&mut self, error: &AccountError) -> Result<bool, Cancelled> {
        if self.job.is_cancelled() {
            return Err(Cancelled);
        }
        self.tell(matches!(error, AccountError::Keys(_)));
        let Some(pause) = self.pause(error) else { return Ok(false) };
        if !matches!(error, AccountError::Keys(KeyFailure::Kms(_))) {
            self.trying = None;
        } else if self.trying.is_none() {
            // One of a job's rows tries, and the others when that is over.
            self.trying = Some(self.job.trying_keys.lock().await);
            return Ok(true);
        }
        tokio::time::sleep(pause).await;
        Ok(true)
    }

    /// How long to wait before another try; none where it is no use.
    fn pause(&mut self, error: &AccountError) -> Option<Duration> {
        match error {
            AccountError::Unavailable(Unavailable::Overloaded) => Some(SHORT_PAUSE),
            AccountError::Unavailable(_) => Some(PAUSE),
            AccountError::Keys(KeyFailure::Kms(_)) => Some(KMS_PAUSE),
            AccountError::Keys(KeyFailure::Unavailable(_)) if self.keys_failed < KEY_TRIES => {
                self.keys_failed += 1;
                Some(PAUSE)
            }
            _ => None,
        }
    }

    /// Has the job say whether it waits for keys.
    pub(super) fn tell(&mut self, without_keys: bool) {
        match (self.without_keys, without_keys) {
            (false, true) => self.job.without_keys.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.job.without_keys.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.without_keys = without_keys;
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.tell(false);
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs_test::job;
    use super::*;

    #[test]
    fn a_silent_kms_is_waited_for_without_end_and_a_key_that_is_not_there_for_a_while() {
        let silent = AccountError::Keys(KeyFailure::Kms("it is silent"));
        let full = AccountError::Unavailable(Unavailable::Overloaded);
        let storage = AccountError::Unavailable(Unavailable::Storage);
        let missing = AccountError::Keys(KeyFailure::Unavailable("it is not here"));
        let job = job(1, "shop");
        let mut patience = Patience::with(&job);
        for _ in 0..10_000 {
            assert_eq!(patience.pause(&silent), Some(KMS_PAUSE));
            assert_eq!(patience.pause(&storage), Some(PAUSE));
            assert_eq!(patience.pause(&full), Some(SHORT_PAUSE));
        }
        for _ in 0..KEY_TRIES {
            assert_eq!(patience.pause(&missing), Some(PAUSE));
        }
        assert_eq!(patience.pause(&missing), None);
        assert_eq!(patience.pause(&silent), Some(KMS_PAUSE));
        let broken = AccountError::Keys(KeyFailure::Broken);
        assert_eq!(Patience::with(&job).pause(&broken), None);
        assert_eq!(job.without_keys.load(Ordering::Relaxed), 0);
        patience.tell(true);
        patience.tell(true);
        assert_eq!(job.without_keys.load(Ordering::Relaxed), 1);
        drop(patience);
        assert_eq!(job.without_keys.load(Ordering::Relaxed), 0);
    }
}
