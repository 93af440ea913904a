//! The one door of the state's own bytes: keys, and what stands beside a state in a row.
//!
//! Numbers are big endian, so that keys sort like what they name. A state itself is laid out by
//! `events::codec`.
//!
//! ```text
//! users     user id (16)                              -> state, entries (35 each), their count (4)
//! claims    index kind (1) version (2) mac (32)       -> user ids (16 each), sorted
//! keys      user id (16)                              -> key id (8), log position (8) each, sorted
//! registry  log position (8)                          -> nothing
//! history   user id (16), first position (8)          -> last position (8)
//! repeats   idempotency digest (16), revision (8),
//!           user id (16), first position (8)          -> last position (8)
//! mark      "applied"                                 -> log position (8)
//! mark      "reach"                                   -> log position (8)
//! mark      "erase", user id (16), log position (8)   -> revision (8)
//! mark      "blanked"                                 -> milliseconds since 1970 (8), users (8)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::events::codec::{decode_user, encode_user};
use crate::events::ids::{KeyedDigest, UserId, UserKeyId};
use crate::events::record::LogPosition;
use crate::events::stamp::Revision;
use crate::events::state::UserState;

use super::error::{RowError, StateError};
use super::kv::{Kv, Tree};

/// The version of this layout. Another one in the checkpoint means that the state is rebuilt.
pub const LAYOUT_VERSION: u16 = 2;

const INDEX_BYTES: usize = 35;
const USER_BYTES: usize = 16;
const KEY_BYTES: usize = 8 + 8;
const PLACE_BYTES: usize = USER_BYTES + 8;
const REPEAT_BYTES: usize = 16 + 8 + PLACE_BYTES;
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
    let place: &[u8; PLACE_BYTES] = key
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

/// A list of claimants with a user in it.
pub(super) fn with_claimant(list: Option<&[u8]>, user: UserId) -> Result<Box<[u8]>, StateError> {
    let mut users = claimants(list)?;
    if let Err(place) = users.binary_search(&user) {
        users.insert(place, user);
    }
    Ok(users.iter().flat_map(UserId::as_bytes).copied().collect())
}

/// A list of claimants without a user; none when nobody is left.
pub(super) fn without_claimant(
    list: Option<&[u8]>,
    user: UserId,
) -> Result<Option<Box<[u8]>>, StateError> {
    let mut users = claimants(list)?;
    users.retain(|other| *other != user);
    let bytes = || users.iter().flat_map(UserId::as_bytes).copied().collect();
    Ok((!users.is_empty()).then(bytes))
}

/// The users in a list of claimants.
pub(super) fn claimants(list: Option<&[u8]>) -> Result<Vec<UserId>, StateError> {
    let users = whole_chunks::<USER_BYTES>(Tree::Claims, list)?;
    Ok(users.iter().map(|user| UserId::from_bytes(*user)).collect())
}

/// A list of keys' places with a place of one key in it; without, where that is none. None when
/// no key is left.
pub(super) fn with_key(
    list: Option<&[u8]>,
    key: UserKeyId,
    place: Option<LogPosition>,
) -> Result<Option<Box<[u8]>>, StateError> {
    let mut keys: BTreeMap<_, _> = keys(list)?.into_iter().collect();
    match place {
        Some(place) => keys.insert(key, place),
        None => keys.remove(&key),
    };
    let entry = |(key, place): (&UserKeyId, &LogPosition)| [key.0, position_bytes(*place)];
    let bytes = || keys.iter().flat_map(entry).flatten().collect();
    Ok((!keys.is_empty()).then(bytes))
}

/// The keys in a list and where the log holds them.
pub(super) fn keys(list: Option<&[u8]>) -> Result<Vec<(UserKeyId, LogPosition)>, StateError> {
    let entries = whole_chunks::<KEY_BYTES>(Tree::Keys, list)?;
    let of = |entry: &[u8; KEY_BYTES]| {
        let key = entry.first_chunk().copied().unwrap_or_default();
        let place = u64::from_be_bytes(entry.last_chunk().copied().unwrap_or_default());
        (UserKeyId(key), LogPosition::from_bits(place))
    };
    Ok(entries.iter().map(of).collect())
}

fn whole_chunks<const N: usize>(tree: Tree, list: Option<&[u8]>) -> Result<&[[u8; N]], StateError> {
    match list.unwrap_or_default().as_chunks() {
        (chunks, []) => Ok(chunks),
        _ => Err(StateError::Entry { tree: tree.name() }),
    }
}

/// The key of a command's place in a user's history.
pub(super) fn history_key(user: UserId, first: LogPosition) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    let (head, tail) = bytes.split_at_mut(USER_BYTES);
    head.copy_from_slice(user.as_bytes());
    tail.copy_from_slice(&position_bytes(first));
    bytes
}

/// The first position that a history key names.
pub(super) fn history_first(key: &[u8]) -> Result<LogPosition, StateError> {
    let wrong = StateError::Entry { tree: Tree::History.name() };
    let whole: &[u8; PLACE_BYTES] = key.try_into().map_err(|_| wrong)?;
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
    let (head, tail) = bytes.split_at_mut(REPEAT_BYTES - PLACE_BYTES);
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
    let (head, place) = whole.split_at(REPEAT_BYTES - PLACE_BYTES);
    let revision = u64::from_be_bytes(head.last_chunk().copied().unwrap_or_default());
    let user = place.first_chunk().copied().unwrap_or_default();
    let first = u64::from_be_bytes(place.last_chunk().copied().unwrap_or_default());
    let user = UserId::from_bytes(user);
    Ok((Revision::from_bits(revision), user, LogPosition::from_bits(first)))
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
        assert_eq!(row_user(user(2).as_bytes()).unwrap(), user(2));
        let at = LogPosition::new(3, 77);
        assert_eq!(position(Tree::Keys, &position_bytes(at)).unwrap(), at);
        let key = repeat_key(KeyedDigest([5; 16]), Revision::from_unix_ms(8), user(2), at);
        assert_eq!(repeat(&key).unwrap(), (Revision::from_unix_ms(8), user(2), at));
        assert!(repeat(&key[1..]).is_err());
        assert!(row_user(&[]).is_err());
    }

    #[test]
    fn a_list_of_claimants_holds_each_once_in_order_and_ends_with_the_last() {
        let mut list = None;
        for number in [3, 1, 2, 3] {
            list = Some(with_claimant(list.as_deref(), user(number)).unwrap());
        }
        assert_eq!(claimants(list.as_deref()).unwrap(), [1, 2, 3].map(user));
        for number in [2, 2, 1, 9] {
            list = without_claimant(list.as_deref(), user(number)).unwrap();
        }
        assert_eq!(claimants(list.as_deref()).unwrap(), [user(3)]);
        assert_eq!(without_claimant(list.as_deref(), user(3)).unwrap(), None);
        assert_eq!(claimants(None).unwrap(), []);
        assert!(
            claimants(Some(&[0; 17])).is_err() && with_claimant(Some(&[0; 15]), user(1)).is_err()
        );
    }

    #[test]
    fn a_list_of_keys_holds_one_place_for_each() {
        let (key, at) = (|number| UserKeyId([number; 8]), |offset| LogPosition::new(3, offset));
        let mut list = None;
        for (number, offset) in [(2, 70), (1, 71), (2, 72)] {
            list = with_key(list.as_deref(), key(number), Some(at(offset))).unwrap();
        }
        assert_eq!(keys(list.as_deref()).unwrap(), [(key(1), at(71)), (key(2), at(72))]);
        list = with_key(list.as_deref(), key(1), None).unwrap();
        assert_eq!(keys(list.as_deref()).unwrap(), [(key(2), at(72))]);
        assert_eq!(with_key(list.as_deref(), key(2), None).unwrap(), None);
        assert!(keys(Some(&[0; 15])).is_err());
    }
}
