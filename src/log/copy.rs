//! Copies a log's folder, also one that is written to meanwhile.

use std::path::Path;
use std::sync::Arc;

use crate::files::{self, Files};

use super::erase;
use super::error::LogError;
use super::segments::{range, segment_path};

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Segments.
    pub segments: u32,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Copies a log into an empty folder and makes the copy durable. `progress` is told the bytes.
///
/// Segments are copied in their order, those that there are when the copying starts. What is
/// written meanwhile is in the copy as far as it goes, and may end in a torn tail, which the next
/// opening cuts. The erase list comes last: a body that is being blanked while it is copied is in
/// that list, and is blanked again by whoever opens the copy.
pub fn copy(
    files: &Arc<dyn Files>,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, LogError> {
    let mut copied = Copied::default();
    let (first, last) = range(files.as_ref(), from)?.unwrap_or((1, 0));
    let segments = (first..=last).map(|number| segment_path(from, number));
    for path in segments.chain([erase::path_in(from)]) {
        let is_segment = path != erase::path_in(from);
        let Some(name) = path.file_name().filter(|_| is_segment || path.exists()) else { continue };
        let before = copied.bytes;
        let bytes = files::copy(files.as_ref(), &path, &to.join(name), &mut |bytes| {
            progress(before.saturating_add(bytes));
        });
        copied.bytes = before.saturating_add(bytes.map_err(LogError::io("copy", &path))?);
        copied.segments += u32::from(is_segment);
    }
    files.sync_folder(to).map_err(LogError::io("sync", to))?;
    Ok(copied)
}
