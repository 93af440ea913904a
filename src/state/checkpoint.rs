//! The checkpoint: a small file that says which folder holds the trees and what is applied there.
//!
//! It is also the pointer to that folder. A rebuild goes into a new folder and takes effect when
//! this file is replaced: at no point of a crash does it speak of one folder and name another.
//!
//! ```text
//! "JCASCKPT" (8), layout version (2), fold version (4), deployment (16), generation (4),
//! log position (8), greatest revision (8), CRC32C of all before (4); big endian
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;
use crate::events::stamp::Revision;
use crate::events::state_hash::FOLD_VERSION;
use crate::files::Files;

use super::error::StateError;
use super::kv::Kv;
use super::layout::{self, LAYOUT_VERSION};

const MAGIC: &[u8; 8] = b"JCASCKPT";
const NAME: &str = "checkpoint";
const TEMPORARY: &str = "checkpoint.new";
/// Longest checkpoint of any version that is looked at.
const BYTES_MAX: u64 = 4096;

/// The number of a folder of trees. A rebuild makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

/// What is applied, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The deployment the state is of.
    pub deployment: DeploymentId,
    /// The folder of the trees.
    pub generation: Generation,
    /// The log position below which everything is applied.
    pub applied_below: LogPosition,
    /// The greatest revision among what is applied.
    pub greatest: Revision,
}

/// What was found where the checkpoint should be. All but a valid one mean a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// None: a new node, or one that never came to its first checkpoint.
    Absent,
    /// A checkpoint of this program's layout and fold.
    Valid(Checkpoint),
    /// Bytes that are no checkpoint.
    Damaged,
    /// A checkpoint of another layout or fold.
    OtherVersion {
        /// Its layout.
        layout: u16,
        /// Its fold.
        fold: u32,
    },
}

/// Reads the checkpoint of a state folder. An error is one of the device, not of the contents.
pub fn read(files: &dyn Files, folder: &Path) -> Result<Reading, StateError> {
    let path = folder.join(NAME);
    let file = match files.open_read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Absent),
        opened => opened.map_err(StateError::file("open", &path))?,
    };
    let len = file.len().map_err(StateError::file("measure", &path))?;
    let Some(len) = usize::try_from(len.min(BYTES_MAX + 1)).ok().filter(|_| len <= BYTES_MAX)
    else {
        return Ok(Reading::Damaged);
    };
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0).map_err(StateError::file("read", &path))?;
    Ok(decode(&bytes))
}

/// Makes everything written to the trees durable, then says so: mark, flush, sync, replace the
/// file. The mark says at the next start that the trees did not lose what was flushed.
///
/// Everything below `checkpoint.applied_below` must have been written to `kv` before the call.
pub fn take_checkpoint(
    kv: &dyn Kv,
    files: &dyn Files,
    folder: &Path,
    checkpoint: &Checkpoint,
) -> Result<(), StateError> {
    layout::leave_mark(kv, checkpoint.applied_below)?;
    kv.flush()?;
    replace(files, folder, &encode(checkpoint))
}

/// Replaces the file so that a crash leaves the old one or the new one.
fn replace(files: &dyn Files, folder: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let (path, temporary): (PathBuf, PathBuf) = (folder.join(NAME), folder.join(TEMPORARY));
    match files.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StateError::file("remove", temporary)(error));
        }
        _ => {}
    }
    let file = files.open(&temporary, true).map_err(StateError::file("create", &temporary))?;
    let written = file.write_all_at(bytes, 0).and_then(|()| file.sync_data());
    written.map_err(StateError::file("write", &temporary))?;
    files.rename(&temporary, &path).map_err(StateError::file("replace", &path))?;
    files.sync_folder(folder).map_err(StateError::file("sync", folder))
}

fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&LAYOUT_VERSION.to_be_bytes());
    bytes.extend_from_slice(&FOLD_VERSION.to_be_bytes());
    bytes.extend_from_slice(&checkpoint.deployment.0);
    bytes.extend_from_slice(&checkpoint.generation.0.to_be_bytes());
    bytes.extend_from_slice(&checkpoint.applied_below.to_bits().to_be_bytes());
    bytes.extend_from_slice(&checkpoint.greatest.to_bits().to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Reading {
    checked(bytes).and_then(parse).unwrap_or(Reading::Damaged)
}

/// The fields, if magic and CRC are right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let intact = crc32c::crc32c(content) == u32::from_be_bytes(*crc);
    content.strip_prefix(MAGIC).filter(|_| intact)
}

fn parse(mut fields: &[u8]) -> Option<Reading> {
    let layout = u16::from_be_bytes(take(&mut fields)?);
    let fold = u32::from_be_bytes(take(&mut fields)?);
    if (layout, fold) != (LAYOUT_VERSION, FOLD_VERSION) {
        return Some(Reading::OtherVersion { layout, fold });
    }
    let checkpoint = Checkpoint {
        deployment: DeploymentId(take(&mut fields)?),
        generation: Generation(u32::from_be_bytes(take(&mut fields)?)),
        applied_below: LogPosition::from_bits(u64::from_be_bytes(take(&mut fields)?)),
        greatest: Revision::from_bits(u64::from_be_bytes(take(&mut fields)?)),
    };
    fields.is_empty().then_some(Reading::Valid(checkpoint))
}

fn take<const N: usize>(fields: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = fields.split_first_chunk()?;
    *fields = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Disk;
    use crate::state::fixtures::checkpoint;
    use crate::state::lossy_kv::LossyKv;

    #[test]
    fn a_checkpoint_is_read_as_it_was_taken_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&Disk, folder.path()).unwrap(), Reading::Absent);
        for generation in 1..4 {
            let taken = checkpoint(generation);
            take_checkpoint(&LossyKv::default(), &Disk, folder.path(), &taken).unwrap();
            assert_eq!(read(&Disk, folder.path()).unwrap(), Reading::Valid(taken));
        }
    }

    #[test]
    fn a_left_over_temporary_file_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TEMPORARY), b"half of one").unwrap();
        assert_eq!(read(&Disk, folder.path()).unwrap(), Reading::Absent);
        take_checkpoint(&LossyKv::default(), &Disk, folder.path(), &checkpoint(1)).unwrap();
        assert_eq!(read(&Disk, folder.path()).unwrap(), Reading::Valid(checkpoint(1)));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_damage() {
        let bytes = encode(&checkpoint(1));
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), Reading::Damaged, "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), Reading::Damaged, "bit {bit}");
        }
        let long = [bytes.as_slice(), &[0]].concat();
        assert_eq!(decode(&long), Reading::Damaged);
    }

    #[test]
    fn a_file_too_long_to_be_one_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), vec![0; 5000]).unwrap();
        assert_eq!(read(&Disk, folder.path()).unwrap(), Reading::Damaged);
    }

    #[test]
    fn another_version_is_told_from_damage_whatever_follows() {
        for (layout, fold) in [(0, FOLD_VERSION), (LAYOUT_VERSION, 0), (99, 99)] {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&layout.to_be_bytes());
            bytes.extend_from_slice(&fold.to_be_bytes());
            bytes.extend_from_slice(b"fields of another version");
            bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
            assert_eq!(decode(&bytes), Reading::OtherVersion { layout, fold });
        }
    }

    #[test]
    fn a_checkpoint_has_the_bytes_it_always_had_and_those_of_version_1_are_known() {
        let fields = concat!(
            "00000001",
            "07070707070707070707070707070707",
            "00000001",
            "0000000300000190",
            "0000000000050000",
        );
        let of_version = |version: &str, check: &str| {
            hex::decode(["4a434153434b5054", version, fields, check].concat()).unwrap()
        };
        let bytes = encode(&checkpoint(1));
        let check = hex::encode(bytes.last_chunk::<4>().unwrap());
        assert_eq!(bytes, of_version("0002", &check));
        assert_eq!(
            decode(&of_version("0001", "2b7e9c3f")),
            Reading::OtherVersion { layout: 1, fold: FOLD_VERSION }
        );
    }
}
