//! Reading the whole log, by header, for what erasing is about.

use std::collections::{BTreeMap, BTreeSet};

use crate::events::codec;
use crate::events::ids::UserId;
use crate::events::record::{LogPosition, Register, Subject};

use super::checkpointer::Checkpoints;
use super::eraser::EraseError;
use super::recovery::RecoveryError;

/// Where the log still holds what is to be blanked, by user.
pub(super) type Found = BTreeMap<UserId, Vec<LogPosition>>;

/// What the log below a position still holds of users that erasure blanks. None: the node stops.
pub(super) fn left_in_log(
    checkpoints: &Checkpoints,
    users: &BTreeSet<UserId>,
    below: LogPosition,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Found>, EraseError> {
    let mut found = Found::new();
    for stored in checkpoints.log.reader().scan(LogPosition::START, Some(below)) {
        let stored = stored?;
        let position = stored.position;
        let header = codec::decode_header(&stored.record.header)
            .map_err(|source| RecoveryError::Record { position, source })?;
        if let Subject::User(user) = header.subject
            && header.kind.is_blanked_by_erasure()
            && stored.record.body.is_some()
            && users.contains(&user)
        {
            found.entry(user).or_default().push(position);
        }
        if stopped() {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// Users whose keys this node itself blanked: that a key came without a body says nothing, since
/// who left it out may have had any reason. None: the node stops.
pub(super) fn blanked_here(
    checkpoints: &Checkpoints,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<BTreeSet<UserId>>, EraseError> {
    let mut users = BTreeSet::new();
    for stored in checkpoints.log.reader().scan(LogPosition::START, None) {
        let stored = stored?;
        let position = stored.position;
        let header = codec::decode_header(&stored.record.header)
            .map_err(|source| RecoveryError::Record { position, source })?;
        if let (Subject::User(user), Register::UserKey(_), None) =
            (header.subject, header.register, &stored.record.body)
            && checkpoints.log.has_blanked(position, &header.reference())
        {
            users.insert(user);
        }
        if stopped() {
            return Ok(None);
        }
    }
    Ok(Some(users))
}
