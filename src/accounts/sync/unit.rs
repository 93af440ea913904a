//! The lines that may be about one person: found, and read together.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use zeroize::Zeroizing;

use crate::accounts::Accounts;
use crate::crypto::sealing::JobKey;
use crate::events::ids::{BlindIndex, IdentityKind, UserId};

use super::groups::{Groups, Keys};
use super::jobs::Job;
use super::lines::LineReader;
use super::patience::{Cancelled, Patience};
use super::row::Named;

/// Most lines that can be about one person.
const GROUP_LINES_MAX: usize = 256;

/// A line and its number.
type Line = (u32, Zeroizing<Vec<u8>>);

/// A group of lines, read.
pub(super) struct Unit {
    pub(super) lines: Vec<Line>,
    /// Whether the group has more lines than were read.
    pub(super) too_many: Option<Vec<u32>>,
}

impl Accounts {
    /// Which lines may be about one person. Of a job that is to end, nothing is said.
    pub(super) async fn group(
        self: &Arc<Self>,
        job: &Arc<Job>,
        key: &Arc<JobKey>,
        reader: &LineReader,
    ) -> io::Result<Groups> {
        match self.group_by_all(job, key).await? {
            Ok(groups) => self.split(job, reader, groups).await,
            Err(Cancelled) => Ok(Groups::default()),
        }
    }

    /// By identities, and by everybody who has an entry for one of them: read from the indexes
    /// alone, of more people than the rows can be about. All threads of jobs share the blocks out.
    async fn group_by_all(
        self: &Arc<Self>,
        job: &Arc<Job>,
        key: &Arc<JobKey>,
    ) -> io::Result<Result<Groups, Cancelled>> {
        let home = &self.syncs.parts.home;
        let threads = home.threads().max(1);
        let shares = (0..threads).map(|first| {
            let (accounts, job, key) = (Arc::clone(self), Arc::clone(job), Arc::clone(key));
            let share = async move { accounts.keys_of_blocks(&job, key, (first, threads)).await };
            share.boxed()
        });
        let Some(found) = home.spread(shares.collect()).await else { return Ok(Err(Cancelled)) };
        let mut keys: Option<Keys> = None;
        for share in found {
            match (share?, &mut keys) {
                (Ok(share), Some(keys)) => keys.append(share),
                (Ok(share), None) => keys = Some(share),
                (Err(Cancelled), _) => return Ok(Err(Cancelled)),
            }
        }
        Ok(Ok(keys.unwrap_or_default().group(job.note().lines)))
    }

    /// The keys of every so many-th block's lines, from one on.
    async fn keys_of_blocks(
        &self,
        job: &Job,
        key: Arc<JobKey>,
        (first, step): (usize, usize),
    ) -> io::Result<Result<Keys, Cancelled>> {
        let note = job.note();
        let reader = LineReader::of(&self.syncs.parts.spool, job.number, key)?;
        let mut keys = Keys::for_lines(usize::try_from(note.lines).unwrap_or_default() / step);
        for block in (first..reader.blocks()).step_by(step) {
            for (line, bytes) in reader.block(block)? {
                let named: Named = serde_json::from_slice(&bytes).unwrap_or_default();
                let typed =
                    [(IdentityKind::Email, named.email), (IdentityKind::Phone, named.phone)];
                let identities = typed.into_iter().filter_map(|(kind, typed)| {
                    self.reader().read(kind, &typed?, Some(note.country)).ok()
                });
                let mut users: Vec<_> = named.user_id.into_iter().collect();
                for identity in identities {
                    keys.add(short_of(identity.index), line);
                    match self.entered(job, identity.index).await {
                        Ok(entered) => users.extend(entered),
                        Err(Cancelled) => return Ok(Err(Cancelled)),
                    }
                }
                users.sort_unstable();
                for user in users {
                    keys.add(short_of_user(user), line);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(Ok(keys))
    }

    /// Everyone with an entry for an identity. That it cannot be read does not mean nobody.
    async fn entered(&self, job: &Job, index: BlindIndex) -> Result<Vec<UserId>, Cancelled> {
        let mut patience = Patience::with(job);
        loop {
            match self.parts.house.entered(index) {
                Ok(entered) => return Ok(entered),
                Err(error) => patience.wait(&error.into()).await?,
            };
        }
    }

    /// Looks closer at groups with more lines than one person can have: by the users that the rows
    /// mean. Anybody may claim the addresses of others' customers, and is meant by none of their
    /// rows.
    async fn split(&self, job: &Job, reader: &LineReader, groups: Groups) -> io::Result<Groups> {
        let (Some(lines), Some(caller)) =
            (groups.lines_beyond(GROUP_LINES_MAX), self.company_of(job))
        else {
            return Ok(groups);
        };
        let note = job.note();
        let received = (note.country, note.received_ms.unwrap_or(u64::MAX));
        let mut keys = Keys::default();
        for block in 0..reader.blocks() {
            let block = reader.block(block)?;
            for (line, bytes) in block.into_iter().filter(|(line, _)| lines.has(*line)) {
                // One that cannot be read is about nobody.
                let Ok(row) = self.read_row(received, &bytes) else { continue };
                for (identity, _) in row.identities() {
                    keys.add(short_of(identity.index), line);
                }
                let Ok(meant) = self.meant(job, &caller, &row).await else {
                    return Ok(Groups::default());
                };
                for user in row.user.into_iter().chain(meant) {
                    keys.add(short_of_user(user), line);
                }
            }
        }
        Ok(groups.with(&lines, keys.group(note.lines)))
    }
}

/// The start of a blind index, which is random.
fn short_of(index: BlindIndex) -> [u8; 8] {
    index.mac.0.first_chunk().copied().unwrap_or_default()
}

/// The end of a user's id, which is random.
fn short_of_user(user: UserId) -> [u8; 8] {
    user.as_bytes().last_chunk().copied().unwrap_or_default()
}

/// Reads the group of a line.
pub(super) fn read_group(reader: &mut LineReader, groups: &Groups, line: u32) -> io::Result<Unit> {
    let of_root = groups.lines_of(line);
    let lines = if of_root.is_empty() { groups.lines_with(line) } else { of_root };
    if lines.len() > GROUP_LINES_MAX {
        return Ok(Unit { lines: Vec::new(), too_many: Some(lines) });
    }
    let read = lines.into_iter().map(|line| Ok((line, reader.line(line)?)));
    Ok(Unit { lines: read.collect::<io::Result<_>>()?, too_many: None })
}
