//! Those who wait for something new: so many at most, each woken by its company's changes alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::events::ids::CompanyId;

/// Most who wait at one node.
const WAITING_MAX: usize = 512;

/// Most of one company's.
const WAITING_OF_COMPANY_MAX: usize = 32;

/// Those who wait.
#[derive(Debug, Default)]
pub struct Waiting(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    companies: HashMap<CompanyId, Of>,
    all: usize,
    closed: bool,
}

#[derive(Debug)]
struct Of {
    waiting: usize,
    bell: watch::Sender<()>,
}

/// One who waits. Whatever rings after it joined is heard, also before it waits.
#[derive(Debug)]
pub struct Waiter {
    waiting: Arc<Mutex<Inner>>,
    company: CompanyId,
    bell: watch::Receiver<()>,
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    /// Somebody of a company joins; none where there are too many.
    pub fn join(&self, company: CompanyId) -> Option<Waiter> {
        let mut inner = lock(&self.0);
        if inner.all >= WAITING_MAX {
            return None;
        }
        let closed = inner.closed;
        let new = || Of { waiting: 0, bell: watch::channel(()).0 };
        let of = inner.companies.entry(company).or_insert_with(new);
        if of.waiting >= WAITING_OF_COMPANY_MAX {
            return None;
        }
        of.waiting += 1;
        let mut bell = of.bell.subscribe();
        if closed {
            bell.mark_changed();
        }
        inner.all += 1;
        Some(Waiter { waiting: Arc::clone(&self.0), company, bell })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        lock(&self.0).all
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nobody is to wait any more.
    pub fn is_closed(&self) -> bool {
        lock(&self.0).closed
    }

    /// Wakes those of a company.
    pub fn wake(&self, company: CompanyId) {
        if let Some(of) = lock(&self.0).companies.get(&company) {
            of.bell.send_replace(());
        }
    }

    /// Wakes everybody, and nobody waits any more: the node stops.
    pub fn close(&self) {
        let mut inner = lock(&self.0);
        inner.closed = true;
        inner.companies.values().for_each(|of| of.bell.send_replace(()));
    }
}

impl Waiter {
    /// Waits until there may be something new.
    pub async fn rung(&mut self) {
        // The bell is there as long as its waiter is.
        let _gone = self.bell.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut inner = lock(&self.waiting);
        inner.all = inner.all.saturating_sub(1);
        let Some(of) = inner.companies.get_mut(&self.company) else { return };
        of.waiting = of.waiting.saturating_sub(1);
        if of.waiting == 0 {
            inner.companies.remove(&self.company);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(name: &str) -> CompanyId {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn a_company_is_woken_by_its_own_changes_alone_and_by_those_before_it_waits() {
        let waiting = Waiting::default();
        let mut shop = waiting.join(company("shop")).unwrap();
        let other = waiting.join(company("other")).unwrap();
        waiting.wake(company("shop"));
        shop.rung().await;
        assert!(!other.bell.has_changed().unwrap());
        drop((shop, other));
        assert!(waiting.is_empty());
        assert!(lock(&waiting.0).companies.is_empty());
    }

    #[test]
    fn there_are_so_many_at_most_and_one_company_may_not_have_all() {
        let waiting = Waiting::default();
        let of = |name: &str| {
            let company = company(name);
            let joined = std::iter::from_fn(|| waiting.join(company));
            joined.collect::<Vec<_>>()
        };
        let first = of("shop");
        assert_eq!(first.len(), WAITING_OF_COMPANY_MAX);
        let mut all = first;
        for number in 0..100 {
            all.extend(of(&format!("shop{number}")));
        }
        assert_eq!((all.len(), waiting.len()), (WAITING_MAX, WAITING_MAX));
        drop(all);
        assert_eq!(waiting.len(), 0);
    }

    #[tokio::test]
    async fn nobody_waits_at_a_node_that_stops() {
        let waiting = Waiting::default();
        let mut before = waiting.join(company("shop")).unwrap();
        waiting.close();
        before.rung().await;
        waiting.join(company("other")).unwrap().rung().await;
    }
}
