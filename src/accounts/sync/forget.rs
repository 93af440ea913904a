//! Leaving people out of what bulk syncs keep once they are erased.
//!
//! Rows are gone when their job is over. Verdicts are kept longer: they say which of the company's
//! people a user was, so that is taken out of them.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use zeroize::Zeroizing;

use crate::accounts::Accounts;
use crate::accounts::error::AccountError;
use crate::actors::Unavailable;
use crate::events::ids::UserId;
use crate::spool::Part;

use super::unreadable;
use super::verdict::Judged;

impl Judged {
    /// The verdict without whom it was about.
    pub(super) fn leave_out(&mut self) {
        (self.user_id, self.reference, self.revision) = (None, None, None);
    }
}

impl Accounts {
    /// When the oldest job came whose rows are kept, in milliseconds since 1970.
    pub fn sync_rows_since(&self) -> Option<u64> {
        self.syncs.jobs().oldest_rows()
    }

    /// Takes users out of the verdicts of all jobs that are over. What they were in is gone from
    /// the disk then.
    pub async fn forget_in_verdicts(&self, users: BTreeSet<UserId>) -> Result<(), AccountError> {
        let users = Arc::new(users);
        let over = self.syncs.jobs().over_before(u64::MAX);
        for job in over {
            let key = self.job_key(&job).await?;
            let (spool, number) = (Arc::clone(&self.syncs.parts.spool), job.number);
            let users = Arc::clone(&users);
            let rewriting = tokio::task::spawn_blocking(move || {
                let change = |block: &[u8]| without(block, &users);
                spool.rewrite(number, Part::Verdicts, &key, change)?;
                Ok::<_, io::Error>(spool.bytes(number))
            });
            let rewritten = rewriting.await.map_err(|_| Unavailable::NotReady)?;
            let bytes = rewritten.map_err(|error| unreadable(&error))?;
            job.bytes.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A block of verdicts without users; none where none of them is in it.
fn without(block: &[u8], users: &BTreeSet<UserId>) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let lines = block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (mut left, mut is_changed) = (Zeroizing::new(Vec::new()), false);
    for line in lines {
        let mut judged: Judged = serde_json::from_slice(line)?;
        if judged.user_id.is_some_and(|user| users.contains(&user)) {
            judged.leave_out();
            is_changed = true;
        }
        serde_json::to_writer(&mut *left, &judged)?;
        left.push(b'\n');
    }
    Ok(is_changed.then_some(left))
}
