//! Blanks bodies in place: first the erase list, durable; then the bodies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::events::codec;
use crate::events::record::LogPosition;
use crate::events::stamp::EventRef;
use crate::files::FileHandle;

use super::error::LogError;
use super::frame::{Body, MARK_BLANK};
use super::lock;
use super::open::Log;
use super::record_at::{RecordAt, damage};

/// Segments opened for blanking, and whether they must be synced.
#[derive(Default)]
struct Opened(BTreeMap<u32, (PathBuf, Arc<dyn FileHandle>, bool)>);

impl Log {
    /// Blanks the bodies of the records at these positions, for ever. When it returns they are gone
    /// from the disk. After an error it can be called again with the same positions; what the
    /// erase list already names is also blanked at the next opening.
    pub fn blank(&self, positions: &[LogPosition]) -> Result<(), LogError> {
        let mut list = lock(&self.erase_list);
        let mut opened = Opened::default();
        let positions: BTreeSet<LogPosition> = positions.iter().copied().collect();
        let mut entries = Vec::new();
        for position in positions.iter().copied() {
            let reference = self.reference_at(&mut opened, position)?;
            if !self.shared.erased().names(position, &reference) {
                entries.push((position, reference));
            }
        }
        if !entries.is_empty() {
            list.append(&entries)?;
            // Before the bodies go, so that no reader takes a half blanked one for damage.
            let mut erased = self.shared.erased.write().unwrap_or_else(PoisonError::into_inner);
            erased.add(&entries);
        }
        for position in positions {
            self.wipe(&mut opened, position)?;
        }
        opened.sync()
    }

    /// Whether this log's own erase list names an event at a position: its body was blanked here,
    /// and did not come without one.
    pub fn has_blanked(&self, position: LogPosition, reference: &EventRef) -> bool {
        self.shared.erased().names(position, reference)
    }

    /// Blanks what the erase list names and an interrupted erasure, or a restored segment, still
    /// holds. Returns how many bodies that were.
    pub(super) fn redo_erasures(&self) -> Result<u64, LogError> {
        let entries = self.shared.erased().entries();
        let mut opened = Opened::default();
        let mut blanked = 0;
        for (position, reference) in entries {
            // A cut or restored log may hold something else there, or nothing.
            let is = match self.reference_at(&mut opened, position) {
                Ok(found) => found == reference,
                Err(LogError::Beyond { .. } | LogError::Damage { .. }) => false,
                Err(error) => return Err(error),
            };
            if is && self.wipe(&mut opened, position)? {
                blanked += 1;
            }
        }
        opened.sync()?;
        Ok(blanked)
    }

    fn reference_at(
        &self,
        opened: &mut Opened,
        position: LogPosition,
    ) -> Result<EventRef, LogError> {
        let (path, record) = self.load(opened, position)?;
        let (header, _) = record.parts().map_err(|fault| damage(&path, position, fault))?;
        let header =
            codec::decode_header(header).map_err(|source| LogError::Header { position, source })?;
        Ok(header.reference())
    }

    fn load(
        &self,
        opened: &mut Opened,
        position: LogPosition,
    ) -> Result<(PathBuf, RecordAt), LogError> {
        let end = self.durable();
        if position >= end || position.segment() == 0 {
            return Err(LogError::Beyond { position, end });
        }
        let (path, file, _) = opened.get(self, position.segment())?;
        let len = if position.segment() == end.segment() {
            u64::from(end.offset())
        } else {
            file.len().map_err(LogError::io("measure", path))?
        };
        let record = RecordAt::load(file.as_ref(), path, position, len)?;
        Ok((path.clone(), record))
    }

    /// Zeroes mark and body, unless they are. Not synced yet.
    fn wipe(&self, opened: &mut Opened, position: LogPosition) -> Result<bool, LogError> {
        let (path, record) = self.load(opened, position)?;
        let (_, body) = record.parts().map_err(|fault| damage(&path, position, fault))?;
        let (path, file, unsynced) = opened.get(self, position.segment())?;
        // Also what is blank already: an attempt that failed, or a process that was killed, may
        // have blanked it in memory only.
        *unsynced = true;
        if body == Body::Blank {
            return Ok(false);
        }
        let (at, len) = record.erasable();
        let zeros = vec![MARK_BLANK; len];
        file.write_all_at(&zeros, at).map_err(LogError::io("blank in", path))?;
        Ok(true)
    }
}

impl Opened {
    fn get(
        &mut self,
        log: &Log,
        segment: u32,
    ) -> Result<&mut (PathBuf, Arc<dyn FileHandle>, bool), LogError> {
        use std::collections::btree_map::Entry;
        match self.0.entry(segment) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(free) => {
                let path = log.shared.segments.path(segment);
                let file = match log.shared.files.open(&path, false) {
                    Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                        let end = log.durable();
                        return Err(LogError::Beyond {
                            position: LogPosition::new(segment, 0),
                            end,
                        });
                    }
                    opened => opened.map_err(LogError::io("open", &path))?,
                };
                Ok(free.insert((path, file, false)))
            }
        }
    }

    fn sync(self) -> Result<(), LogError> {
        for (path, file, _) in self.0.into_values().filter(|(_, _, unsynced)| *unsynced) {
            file.sync_data().map_err(LogError::io("sync", &path))?;
        }
        Ok(())
    }
}
