//! What is read of users from the log: wrapped keys, histories, what a call with an idempotency key
//! recorded. The state holds only where they lie.

use std::sync::Arc;

use actix::Message;

use crate::events::codec;
use crate::events::event::{Event, UserKeyCreated};
use crate::events::ids::{KeyedDigest, UserId, UserKeyId};
use crate::events::record::{Header, LogPosition, Subject};
use crate::events::state::UserState;
use crate::log::LogReader;
use crate::state::repeats::Repeat;
use crate::state::store::Store;

use super::failure::Unavailable;
use super::lane::Reply;
use super::shard::{ShardEngine, fold, unreadable};

/// Asks for the headers and events of a user, oldest first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReadHistory {
    /// The user.
    pub user: UserId,
    /// Only what lies above this position.
    pub after: LogPosition,
    /// At most so many.
    pub limit: usize,
    /// Where they go.
    pub reply: Reply<Vec<Recorded>, Unavailable>,
}

/// An event as it stands in the log.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where.
    pub position: LogPosition,
    /// Its header.
    pub header: Header,
    /// Its content, unless blanked or of a newer version.
    pub event: Option<Event>,
}

/// Asks for what a command with an idempotency key recorded of a user.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReadRepeat {
    /// Where it lies.
    pub repeat: Repeat,
    /// Where it goes.
    pub reply: Reply<Recalled, Unavailable>,
}

/// What a command with an idempotency key recorded of a user.
#[derive(Debug, Clone, Default)]
pub struct Recalled {
    /// Digest of the request, as it was recorded.
    pub content: Option<KeyedDigest>,
    /// The user as the command's events alone make it.
    pub state: Arc<UserState>,
}

/// A user's wrapped keys. They are read from the log, since the state does not hold them, by
/// whoever asks. A key whose body was blanked is left out.
pub(super) fn wrapped_keys(
    store: &Store,
    reader: &LogReader,
    user: UserId,
) -> Result<Vec<(UserKeyId, UserKeyCreated)>, Unavailable> {
    let positions = store.key_positions(user).map_err(|error| unreadable(user, &error))?;
    let mut keys = Vec::with_capacity(positions.len());
    for (id, position) in positions {
        if let Some(Event::UserKeyCreated(created)) = recorded(reader, user, position)?.event {
            keys.push((id, created));
        }
    }
    Ok(keys)
}

fn recorded(
    reader: &LogReader,
    user: UserId,
    position: LogPosition,
) -> Result<Recorded, Unavailable> {
    let record = reader.read_at(position).map_err(|error| unreadable(user, &error))?;
    let (header, fact) = codec::decode_record(&record).map_err(|error| unreadable(user, &error))?;
    Ok(Recorded { position, header, event: fact.event })
}

impl ShardEngine {
    /// A user's events.
    pub fn read_history(
        &self,
        user: UserId,
        after: LogPosition,
        limit: usize,
    ) -> Result<Vec<Recorded>, Unavailable> {
        let unreadable = |error: &dyn std::error::Error| unreadable(user, error);
        let mut history = Vec::new();
        for place in self.store.history(user, after) {
            let (first, last) = place.map_err(|error| unreadable(&error))?;
            for stored in self.reader.scan(first, None) {
                let position = stored.map_err(|error| unreadable(&error))?.position;
                let recorded = recorded(&self.reader, user, position)?;
                if position > after && recorded.header.subject == Subject::User(user) {
                    history.push(recorded);
                }
                if history.len() >= limit {
                    return Ok(history);
                }
                if position >= last {
                    break;
                }
            }
        }
        Ok(history)
    }

    /// What a command with an idempotency key recorded of a user, or between it and others, folded
    /// alone.
    pub fn read_repeat(&self, repeat: &Repeat) -> Result<Recalled, Unavailable> {
        let user = repeat.user;
        let mut recalled = Recalled::default();
        for stored in self.reader.scan(repeat.first, None) {
            let stored = stored.map_err(|error| unreadable(user, &error))?;
            let decoded = codec::decode_record(&stored.record);
            let (header, fact) = decoded.map_err(|error| unreadable(user, &error))?;
            let of_it = fact.idempotency == Some(repeat.key) && fact.revision == repeat.revision;
            let mut touched = fact.event.iter().flat_map(Event::touched_users);
            let about = fact.subject == Subject::User(user) || touched.any(|it| it == user);
            if of_it && about {
                recalled.content = header.cause.content;
                fold(&mut recalled.state, user, &fact);
            }
            if stored.position >= repeat.last {
                break;
            }
        }
        Ok(recalled)
    }
}
