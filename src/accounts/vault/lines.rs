//! Who asks for branch keys, and who waits meanwhile: one asks for each key, and those who want the
//! same key wait for what comes of it. Different keys do not wait for each other.
//!
//! Nobody waits for ever: a line that moves too slowly is left, and so many are asked for at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::events::ids::BranchKeyId;

use super::KeyFailure;

/// Branch keys that the KMS is asked for at once.
const AT_ONCE_MAX: usize = 64;

/// One line a key, and one for the making of a new one.
pub(super) struct Lines {
    by_key: Mutex<BTreeMap<BranchKeyId, Weak<AsyncMutex<()>>>>,
    making: AsyncMutex<()>,
    at_once: Semaphore,
    patience: Duration,
}

/// Whoever holds it is the only one to ask for its key.
pub(super) struct Turn<'a> {
    _key: OwnedMutexGuard<()>,
    _one: SemaphorePermit<'a>,
}

impl Lines {
    /// Lines in which nobody waits longer than this.
    pub(super) fn new(patience: Duration) -> Self {
        let (by_key, making) = (Mutex::default(), AsyncMutex::default());
        Self { by_key, making, at_once: Semaphore::new(AT_ONCE_MAX), patience }
    }

    /// The turn to ask for a key. Whoever waited looks into memory first.
    pub(super) async fn turn(&self, id: BranchKeyId) -> Result<Turn<'_>, KeyFailure> {
        let line = self.line(id);
        let turn = async {
            let key = line.lock_owned().await;
            let one = self.at_once.acquire().await.ok()?;
            Some(Turn { _key: key, _one: one })
        };
        let waited = tokio::time::timeout(self.patience, turn).await.ok().flatten();
        waited.ok_or(TOO_LONG)
    }

    /// The turn to make a branch key.
    pub(super) async fn making(&self) -> Result<impl Drop + '_, KeyFailure> {
        let waited = tokio::time::timeout(self.patience, self.making.lock()).await;
        waited.map_err(|_| TOO_LONG)
    }

    fn line(&self, id: BranchKeyId) -> Arc<AsyncMutex<()>> {
        let mut lines = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.strong_count() > 0);
        if let Some(line) = lines.get(&id).and_then(Weak::upgrade) {
            return line;
        }
        let line = Arc::default();
        lines.insert(id, Arc::downgrade(&line));
        line
    }
}

const TOO_LONG: KeyFailure = KeyFailure::Kms("others wait for the branch key already");

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BranchKeyId = BranchKeyId([1; 16]);
    const TWO: BranchKeyId = BranchKeyId([2; 16]);

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn one_key_is_asked_for_once_and_another_meanwhile() {
        run(async {
            let lines = Lines::new(Duration::from_millis(20));
            let first = lines.turn(ONE).await.unwrap();
            let _other = lines.turn(TWO).await.unwrap();
            assert!(lines.turn(ONE).await.is_err(), "somebody asks for it, for longer than that");
            drop(first);
            assert!(lines.turn(ONE).await.is_ok());
        });
    }

    #[test]
    fn one_at_a_time_makes_a_key() {
        run(async {
            let lines = Lines::new(Duration::from_millis(20));
            let making = lines.making().await.unwrap();
            assert!(lines.making().await.is_err());
            assert!(lines.turn(ONE).await.is_ok());
            drop(making);
            assert!(lines.making().await.is_ok());
        });
    }

    #[test]
    fn so_many_are_asked_for_at_once_and_lines_that_ended_are_forgotten() {
        run(async {
            let lines = Lines::new(Duration::from_millis(20));
            let mut held = Vec::new();
            for number in 0..AT_ONCE_MAX {
                let mut id = [0; 16];
                id[0] = u8::try_from(number).unwrap();
                held.push(lines.turn(BranchKeyId(id)).await.unwrap());
            }
            assert!(lines.turn(BranchKeyId([255; 16])).await.is_err());
            held.clear();
            let _held = lines.turn(ONE).await.unwrap();
            assert_eq!(lines.by_key.lock().unwrap().len(), 1);
        });
    }
}
