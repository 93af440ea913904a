//! What can be wrong with a log: always which file, where in it and what was being done.

use std::io;
use std::path::{Path, PathBuf};

use crate::events::codec::CodecError;
use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;

use super::packed::BadBlock;

/// Why a frame cannot be taken as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The file ends, or must end, before the frame does.
    #[error("the frame goes on beyond the end")]
    Truncated,
    /// Neither a record nor a commit frame.
    #[error("no frame starts here")]
    NoFrame,
    /// Lengths that no record has.
    #[error("the record's lengths are impossible")]
    Lengths,
    /// The header is not what was written.
    #[error("the record's header does not match its checksum")]
    HeaderChecksum,
    /// The body is not what was written, and is not in the erase list.
    #[error("the record's body does not match its checksum")]
    BodyChecksum,
    /// The commit frame is not what was written, or is another deployment's.
    #[error("the commit frame does not match its checksum")]
    CommitChecksum,
    /// The commit frame was written for another place.
    #[error("the commit frame names another place than its own")]
    CommitPlace,
    /// The commit frame does not follow what lies before it.
    #[error("the commit frame names another durable end before it")]
    CommitPrevious,
    /// The commit frame belongs to other records.
    #[error("the commit frame covers other records than those before it")]
    CommitCover,
    /// Records that no commit frame follows.
    #[error("the records are not followed by a commit frame")]
    NoCommit,
    /// The segment is shorter than the one after it says.
    #[error("the segment is shorter than its successor says")]
    Short,
    /// A packed export's block has no head that can be read.
    #[error("the block's head does not match its checksum")]
    BlockHead,
    /// A packed export's block does not go on where the one before it ended.
    #[error("the block is not the one that follows")]
    BlockPlace,
    /// A packed export's block is not what was written.
    #[error("the block does not match its digest")]
    BlockDigest,
    /// A packed export's block is not what its head says when it is unpacked.
    #[error("the block does not unpack to what its head says")]
    BlockContent,
    /// A packed export's end names other blocks than those before it.
    #[error("the export's end was written for other blocks")]
    End,
    /// An erase list entry is not what was written.
    #[error("the erase list entry does not match its checksum")]
    EraseEntry,
}

/// What went wrong with the log itself.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file could not be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file belongs to another deployment.
    #[error("{} belongs to deployment {found}, not to {expected}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: DeploymentId,
        /// Whose it should be.
        expected: DeploymentId,
    },
    /// The file was written by a newer program.
    #[error("{} has format version {version}, this program knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
        /// The newest version known.
        known: u16,
    },
    /// The file's head is not that of a log file.
    #[error("{} has a damaged head at offset {offset}: {reason}", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// Bytes from the start.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Something that was durable cannot be read. Nothing was changed.
    #[error("{} is damaged at offset {offset}", path.display())]
    Damage {
        /// The file.
        path: PathBuf,
        /// The segment's number; 0 for the erase list.
        segment: u32,
        /// Bytes from the start.
        offset: u64,
        /// What is wrong there.
        #[source]
        fault: Fault,
    },
    /// An export that was cut, or is still being written.
    #[error(
        "{} ends before the export does: it was cut, or is still being made; `jcas log verify` \
         says what it holds", path.display()
    )]
    Unfinished {
        /// The file.
        path: PathBuf,
    },
    /// An export that was cut so early that nothing of it can be read.
    #[error("{} ends within its first block: nothing of it can be read", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// A folder in which there is no log.
    #[error(
        "{} holds no log: there is no 00000001.seg in it; a log is a node's data folder, the \
         folder `log` in that, one of its segments, or an export", folder.display()
    )]
    NoLog {
        /// The folder.
        folder: PathBuf,
    },
    /// A segment between others is not there.
    #[error("segment {number} is missing in {}", folder.display())]
    Missing {
        /// The log's folder.
        folder: PathBuf,
        /// The segment.
        number: u32,
    },
    /// The position is not in the log, or not durable yet.
    #[error("there is nothing at {position}: the log ends at {end}")]
    Beyond {
        /// What was asked for.
        position: LogPosition,
        /// Where the log ends.
        end: LogPosition,
    },
    /// A whole header that does not decode.
    #[error("cannot read the header at {position}")]
    Header {
        /// Where it lies.
        position: LogPosition,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// A record of one's own that cannot be laid out.
    #[error("cannot lay a record out")]
    Encode(#[source] CodecError),
    /// The log has a writer already.
    #[error("the log has a writer already")]
    WriterRunning,
    /// The erase list could not be made durable earlier; the log must be opened anew.
    #[error("the erase list is unusable since a failed write")]
    EraseListBroken,
}

impl LogError {
    /// Wraps an error of the operating system, for `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.get_ref().and_then(|inner| inner.downcast_ref::<BadBlock>()) {
            // What is read out of a packed export comes by way of a file.
            Some(bad) => bad.at_path(path),
            None => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    /// Whether the device is full (or a quota used up).
    pub fn is_full(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}
