//! The one door of the state's own bytes: keys, and what stands beside a state in a row.
//!
//! Numbers are big endian, so that keys sort like what they name. A state itself is laid out by
//! `events::codec`.
//!
//! ```text
//! users     user id (16)                              -> state, entries (35 each), their count (4)
//! claims    index kind (1) version (2) mac (32),
//!           user id (16)                              -> nothing
//! keys      user id (16), key id (8)                  -> log position (8)
//! registry  log position (8)                          -> nothing
//! history   user id (16), first position (8)          -> last position (8)
//! repeats   idempotency digest (16), revision (8),
//!           user id (16), first position (8)          -> last position (8)
//! mark      "applied"                                 -> log position (8)
//! mark      "reach"                                   -> log position (8)
//! mark      "erase", user id (16), log position (8)   -> revision (8)
//! mark      "blanked"                                 -> milliseconds since 1970 (8), users (8)
//! ```

use std::collections::BTreeSet;

use crate::events::codec::{decode_user, encode_user};
use crate::events::ids::{KeyedDigest, UserId, UserKeyId};
use crate::events::record::LogPosition;
use crate::events::stamp::Revision;
use crate::events::state::UserState;

use super::error::{RowError, StateError};
use super::kv::{Kv, Tree};

/// The version of this layout. Another one in the checkpoint means that the state is rebuilt.
pub const LAYOUT_VERSION: u16 = 1;

const INDEX_BYTES: usize = 35;
const USER_BYTES: usize = 16;
const CLAIM_BYTES: usize = INDEX_BYTES + USER_BYTES;
const KEY_BYTES: usize = USER_BYTES + 8;
const REPEAT_BYTES: usize = 16 + 8 + KEY_BYTES;
const COUNT_BYTES: usize = 4;

/// A blind index as a key starts with it: `BlindIndex::to_key`.
pub(super) type IndexKey = [u8; INDEX_BYTES];

/// The key of the mark that a checkpoint leaves.
const MARK_KEY: &[u8] = b"applied";

/// The key of the note how far into the log the trees may know.
const REACH_KEY: &[u8] = b"reach";

/// The key of the note how many users were blanked since when.
const BLANKED_KEY: &[u8] = b"blanked";

/// What the notes of erasures that are to be carried out start with.
pub(super) const ERASURE_PREFIX: &[u8] = b"erase";

/// The key of such a note.
pub(super) fn erasure_key(user: UserId, position: LogPosition) -> Vec<u8> {
    [ERASURE_PREFIX, user.as_bytes(), &position_bytes(position)].concat()
}

/// The user and the position that such a key names, and the revision at it.
pub(super) fn erasure(
    key: &[u8],
    value: &[u8],
) -> Result<(UserId, LogPosition, Revision), StateError> {
    let wrong = || StateError::Entry { tree: Tree::Mark.name() };
    let place: &[u8; KEY_BYTES] = key
        .strip_prefix(ERASURE_PREFIX)
        .and_then(|place| place.try_into().ok())
        .ok_or_else(wrong)?;
    let user = UserId::from_bytes(place.first_chunk().copied().unwrap_or_default());
    let bits = u64::from_be_bytes(place.last_chunk().copied().unwrap_or_default());
    let revision = u64::from_be_bytes(value.try_into().map_err(|_| wrong())?);
    Ok((user, LogPosition::from_bits(bits), Revision::from_bits(revision)))
}

/// Leaves the position below which everything is applied in the trees themselves.
pub(super) fn leave_mark(kv: &dyn Kv, applied_below: LogPosition) -> Result<(), StateError> {
    kv.insert(Tree::Mark, MARK_KEY, &position_bytes(applied_below))
}

/// Whether the trees hold the mark that a checkpoint left, or a later one: a crash may come between
/// the two.
pub(super) fn has_mark(kv: &dyn Kv, applied_below: LogPosition) -> Result<bool, StateError> {
    let mark = kv.get(Tree::Mark, MARK_KEY)?;
    let mark = mark.map(|mark| position(Tree::Mark, &mark)).transpose()?;
    Ok(mark.is_some_and(|mark| mark >= applied_below))
}

/// Notes that the trees may know of anything below a position.
pub(super) fn leave_reach(kv: &dyn Kv, durable: LogPosition) -> Result<(), StateError> {
    kv.insert(Tree::Mark, REACH_KEY, &position_bytes(durable))
}

/// The position from which on the trees know of nothing.
pub(super) fn reach(kv: &dyn Kv) -> Result<LogPosition, StateError> {
    let noted = kv.get(Tree::Mark, REACH_KEY)?;
    let noted = noted.map(|noted| position(Tree::Mark, &noted)).transpose()?;
    Ok(noted.unwrap_or(LogPosition::START))
}

/// Notes when counting of blanked users began, in milliseconds since 1970, and how many they are.
pub(super) fn leave_blanked(kv: &dyn Kv, (since, users): (u64, u64)) -> Result<(), StateError> {
    kv.insert(Tree::Mark, BLANKED_KEY, [since.to_be_bytes(), users.to_be_bytes()].as_flattened())
}

/// What was noted.
pub(super) fn blanked(kv: &dyn Kv) -> Result<Option<(u64, u64)>, StateError> {
    let Some(noted) = kv.get(Tree::Mark, BLANKED_KEY)? else { return Ok(None) };
    let whole: &[u8; 16] =
        (&*noted).try_into().map_err(|_| StateError::Entry { tree: Tree::Mark.name() })?;
    let number = |half: Option<&[u8; 8]>| u64::from_be_bytes(half.copied().unwrap_or_default());
    Ok(Some((number(whole.first_chunk()), number(whole.last_chunk()))))
}

/// The key of a claim.
pub(super) fn claim_key(index: &IndexKey, user: UserId) -> [u8; CLAIM_BYTES] {
    let mut key = [0; CLAIM_BYTES];
    let (head, tail) = key.split_at_mut(INDEX_BYTES);
    head.copy_from_slice(index);
    tail.copy_from_slice(user.as_bytes());
    key
}

/// The user a claim's key names.
pub(super) fn claimant(key: &[u8]) -> Result<UserId, StateError> {
    let wrong = StateError::Entry { tree: Tree::Claims.name() };
    let whole: &[u8; CLAIM_BYTES] = key.try_into().map_err(|_| wrong)?;
    let user = whole.last_chunk().copied().unwrap_or_default();
    Ok(UserId::from_bytes(user))
}

/// The key of a user key's position.
pub(super) fn key_key(user: UserId, key: UserKeyId) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    let (head, tail) = bytes.split_at_mut(USER_BYTES);
    head.copy_from_slice(user.as_bytes());
    tail.copy_from_slice(&key.0);
    bytes
}

/// The key of a command's place in a user's history.
pub(super) fn history_key(user: UserId, first: LogPosition) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    let (head, tail) = bytes.split_at_mut(USER_BYTES);
    head.copy_from_slice(user.as_bytes());
    tail.copy_from_slice(&position_bytes(first));
    bytes
}

/// The first position that a history key names.
pub(super) fn history_first(key: &[u8]) -> Result<LogPosition, StateError> {
    let wrong = StateError::Entry { tree: Tree::History.name() };
    let whole: &[u8; KEY_BYTES] = key.try_into().map_err(|_| wrong)?;
    Ok(LogPosition::from_bits(u64::from_be_bytes(whole.last_chunk().copied().unwrap_or_default())))
}

/// The key of what a user's command with an idempotency key recorded.
pub(super) fn repeat_key(
    key: KeyedDigest,
    revision: Revision,
    user: UserId,
    first: LogPosition,
) -> [u8; REPEAT_BYTES] {
    let mut bytes = [0; REPEAT_BYTES];
    let (head, tail) = bytes.split_at_mut(REPEAT_BYTES - KEY_BYTES);
    let (digest, at) = head.split_at_mut(key.0.len());
    digest.copy_from_slice(&key.0);
    at.copy_from_slice(&revision.to_bits().to_be_bytes());
    tail.copy_from_slice(&history_key(user, first));
    bytes
}

/// The revision, the user and the first position that such a key names.
pub(super) fn repeat(key: &[u8]) -> Result<(Revision, UserId, LogPosition), StateError> {
    let wrong = StateError::Entry { tree: Tree::Repeats.name() };
    let whole: &[u8; REPEAT_BYTES] = key.try_into().map_err(|_| wrong)?;
    let (head, place) = whole.split_at(REPEAT_BYTES - KEY_BYTES);
    let revision = u64::from_be_bytes(head.last_chunk().copied().unwrap_or_default());
    let user = place.first_chunk().copied().unwrap_or_default();
    let first = u64::from_be_bytes(place.last_chunk().copied().unwrap_or_default());
    let user = UserId::from_bytes(user);
    Ok((Revision::from_bits(revision), user, LogPosition::from_bits(first)))
}

/// The key that a position's key names.
pub(super) fn key_id(key: &[u8]) -> Result<UserKeyId, StateError> {
    let wrong = StateError::Entry { tree: Tree::Keys.name() };
    let whole: &[u8; KEY_BYTES] = key.try_into().map_err(|_| wrong)?;
    Ok(UserKeyId(whole.last_chunk().copied().unwrap_or_default()))
}

/// The user a row's key names.
pub(super) fn row_user(key: &[u8]) -> Result<UserId, StateError> {
    let whole = key.try_into().map_err(|_| StateError::Entry { tree: Tree::Users.name() })?;
    Ok(UserId::from_bytes(whole))
}

/// A log position in eight bytes.
pub(super) const fn position_bytes(position: LogPosition) -> [u8; 8] {
    position.to_bits().to_be_bytes()
}

/// The log position in eight bytes.
pub(super) fn position(tree: Tree, bytes: &[u8]) -> Result<LogPosition, StateError> {
    let whole = bytes.try_into().map_err(|_| StateError::Entry { tree: tree.name() })?;
    Ok(LogPosition::from_bits(u64::from_be_bytes(whole)))
}

/// Lays a row out: the state, and for a tombstone the index entries it had.
pub(super) fn encode_row(
    user: UserId,
    state: &UserState,
    entries: &BTreeSet<IndexKey>,
) -> Result<Vec<u8>, StateError> {
    let unwritable = |source| StateError::Row { user, source: RowError::State(source) };
    let mut row = encode_user(state).map_err(unwritable)?;
    for entry in entries {
        row.extend_from_slice(entry);
    }
    // A state is bounded, and so is what it claims.
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    row.extend_from_slice(&count.to_be_bytes());
    Ok(row)
}

/// Reads the state in a row.
pub(super) fn decode_row(user: UserId, row: &[u8]) -> Result<UserState, StateError> {
    let refused = |source| StateError::Row { user, source };
    let (state, _) = split_row(row).ok_or_else(|| refused(RowError::Short))?;
    decode_user(state).map_err(|source| refused(RowError::State(source)))
}

/// Reads the index entries in a row.
pub(super) fn row_entries(user: UserId, row: &[u8]) -> Result<BTreeSet<IndexKey>, StateError> {
    let short = StateError::Row { user, source: RowError::Short };
    let (_, entries) = split_row(row).ok_or(short)?;
    let (entries, _) = entries.as_chunks();
    Ok(entries.iter().copied().collect())
}

fn split_row(row: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, count) = row.split_last_chunk::<COUNT_BYTES>()?;
    let entries = usize::try_from(u32::from_be_bytes(*count)).ok()?.checked_mul(INDEX_BYTES)?;
    rest.split_at_checked(rest.len().checked_sub(entries)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures::{index, user};

    #[test]
    fn a_row_gives_back_its_state_and_its_entries() {
        let entries: BTreeSet<_> = (0..3).map(|n| index(n).to_key()).collect();
        for entries in [BTreeSet::new(), entries] {
            let row = encode_row(user(1), &UserState::default(), &entries).unwrap();
            assert_eq!(decode_row(user(1), &row).unwrap(), UserState::default());
            assert_eq!(row_entries(user(1), &row).unwrap(), entries);
        }
    }

    #[test]
    fn no_cut_of_a_row_is_taken_for_a_row() {
        let entries = BTreeSet::from([index(1).to_key()]);
        let row = encode_row(user(1), &UserState::default(), &entries).unwrap();
        for len in 0..row.len() {
            assert!(decode_row(user(1), &row[..len]).is_err(), "{len} bytes were taken");
        }
    }

    #[test]
    fn keys_give_back_what_they_name() {
        assert_eq!(claimant(&claim_key(&index(3).to_key(), user(2))).unwrap(), user(2));
        assert_eq!(key_id(&key_key(user(2), UserKeyId([9; 8]))).unwrap(), UserKeyId([9; 8]));
        assert_eq!(row_user(user(2).as_bytes()).unwrap(), user(2));
        let at = LogPosition::new(3, 77);
        assert_eq!(position(Tree::Keys, &position_bytes(at)).unwrap(), at);
        let key = repeat_key(KeyedDigest([5; 16]), Revision::from_unix_ms(8), user(2), at);
        assert_eq!(repeat(&key).unwrap(), (Revision::from_unix_ms(8), user(2), at));
        assert!(repeat(&key[1..]).is_err());
        assert!(claimant(&[0; 50]).is_err() && key_id(&[0; 25]).is_err() && row_user(&[]).is_err());
    }
}
