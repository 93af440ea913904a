//! Where segments lie: names, listing, making a new one, and open handles for readers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::events::ids::DeploymentId;
use crate::files::{FileHandle, Files};

use super::erase::{Erased, read_only};
use super::error::LogError;
use super::head::SegmentHead;
use super::lock;
use super::pack::is_packed;
use super::packed::Packed;

/// Most open segments a reader keeps.
const HANDLES_MAX: usize = 64;

/// The file name of a segment.
pub(super) fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.seg"))
}

/// The number in a segment's file name, if it is one.
fn segment_number(path: &Path) -> Option<u32> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let proper = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|number| proper && *number > 0)
}

/// The first and last segment of a folder; none if it has none. A hole between them is an error.
pub(super) fn range(files: &dyn Files, folder: &Path) -> Result<Option<(u32, u32)>, LogError> {
    let listed = files.list(folder).map_err(LogError::io("list", folder))?;
    let mut numbers = listed.iter().filter_map(|path| segment_number(path));
    let Some(first) = numbers.next() else { return Ok(None) };
    let mut last = first;
    for number in numbers {
        if number != last.saturating_add(1) {
            let folder = folder.to_owned();
            return Err(LogError::Missing { folder, number: last.saturating_add(1) });
        }
        last = number;
    }
    Ok(Some((first, last)))
}

/// How making a file failed: whether its durability is unknown, or it is simply not there.
pub(super) enum CreateError {
    /// It is not there (or its leftover is removed at the next opening).
    Absent(LogError),
    /// It could not be synced: nobody knows what is on the disk.
    Unsynced(LogError),
}

impl From<CreateError> for LogError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Absent(error) | CreateError::Unsynced(error) => error,
        }
    }
}

/// Makes a file with these first bytes. It gets its name once they are durable, so that a file of
/// that name never has a torn head.
pub(super) fn create(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
) -> Result<Arc<dyn FileHandle>, CreateError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let unborn = path.with_extension("new");
    let absent = CreateError::Absent;
    remove_if_there(files, &unborn).map_err(absent)?;
    let file =
        files.open(&unborn, true).map_err(LogError::io("create", &unborn)).map_err(absent)?;
    if let Err(source) = file.write_all_at(bytes, 0) {
        let error = LogError::io("write", &unborn)(source);
        // A leftover does no harm; the error above is the one that matters.
        let _ = files.remove(&unborn);
        return Err(absent(error));
    }
    let unsynced = CreateError::Unsynced;
    file.sync_data().map_err(LogError::io("sync", &unborn)).map_err(unsynced)?;
    files.rename(&unborn, path).map_err(LogError::io("rename", &unborn)).map_err(absent)?;
    files.sync_folder(folder).map_err(LogError::io("sync", folder)).map_err(unsynced)?;
    Ok(file)
}

/// Removes a file that a failed or interrupted creation may have left.
fn remove_if_there(files: &dyn Files, path: &Path) -> Result<(), LogError> {
    match files.remove(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LogError::io("remove", path)(source))
        }
        _ => Ok(()),
    }
}

/// The segments that a reader may open.
pub(super) struct Segments {
    pub(super) files: Arc<dyn Files>,
    place: Place,
    handles: Mutex<BTreeMap<u32, Arc<dyn FileHandle>>>,
}

/// What a path given by a person leads to.
pub(super) struct Found {
    pub(super) segments: Segments,
    /// Where the erase list lies, if there may be one.
    pub(super) folder: Option<PathBuf>,
    pub(super) first: u32,
    pub(super) last: u32,
}

impl Found {
    /// Looks at a log's folder, a segment or an export.
    pub(super) fn at(files: &Arc<dyn Files>, path: &Path) -> Result<Self, LogError> {
        // Only a folder can be listed.
        if files.list(path).is_ok() {
            let none = || LogError::NoLog { folder: path.to_owned() };
            let (first, last) = range(files.as_ref(), path)?.ok_or_else(none)?;
            let segments = Segments::in_folder(Arc::clone(files), path.to_owned());
            return Ok(Self { segments, folder: Some(path.to_owned()), first, last });
        }
        let file = files.open_read(path).map_err(LogError::io("open", path))?;
        if is_packed(file.as_ref(), path)? {
            let packed = Arc::new(Packed::open(file, path)?);
            let (first, last) = (1, packed.last_segment());
            let segments = Segments::packed(Arc::clone(files), path.to_owned(), packed);
            return Ok(Self { segments, folder: None, first, last });
        }
        let segments = Segments::one_file(Arc::clone(files), path.to_owned());
        let number = SegmentHead::read(segments.open(1)?.as_ref(), path)?.segment;
        // A segment in its log's folder has the erase list beside it.
        let folder = path.parent().filter(|folder| files.list(folder).is_ok());
        Ok(Self { segments, folder: folder.map(Path::to_owned), first: number, last: number })
    }

    /// The erase list that belongs to it.
    pub(super) fn erased(&self, deployment: DeploymentId) -> Result<Erased, LogError> {
        match &self.folder {
            Some(folder) => read_only(self.segments.files.as_ref(), folder, deployment),
            None => Ok(Erased::default()),
        }
    }
}

/// How long a log, a segment or an export is in all, in bytes, unpacked.
pub fn length(files: &Arc<dyn Files>, path: &Path) -> Result<u64, LogError> {
    let Found { segments, first, last, .. } = Found::at(files, path)?;
    let len = |segment| {
        let file = segments.open(segment)?;
        file.len().map_err(LogError::io("measure", &segments.path(segment)))
    };
    (first..=last).map(len).sum()
}

enum Place {
    /// A log's folder.
    Folder(PathBuf),
    /// One file, whatever its name.
    File(PathBuf),
    /// A packed export.
    Packed(PathBuf, Arc<Packed>),
}

impl Segments {
    pub(super) fn in_folder(files: Arc<dyn Files>, folder: PathBuf) -> Self {
        Self { files, place: Place::Folder(folder), handles: Mutex::default() }
    }

    pub(super) fn one_file(files: Arc<dyn Files>, path: PathBuf) -> Self {
        Self { files, place: Place::File(path), handles: Mutex::default() }
    }

    fn packed(files: Arc<dyn Files>, path: PathBuf, packed: Arc<Packed>) -> Self {
        Self { files, place: Place::Packed(path, packed), handles: Mutex::default() }
    }

    /// The packed export that they are in, if they are in one.
    pub(super) const fn in_packed(&self) -> Option<&Arc<Packed>> {
        match &self.place {
            Place::Packed(_, packed) => Some(packed),
            Place::Folder(_) | Place::File(_) => None,
        }
    }

    /// Whether they lie in a log's folder.
    pub(super) const fn in_log_folder(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    /// The file of a segment.
    pub(super) fn path(&self, number: u32) -> PathBuf {
        match &self.place {
            Place::Folder(folder) => segment_path(folder, number),
            Place::File(path) | Place::Packed(path, _) => path.clone(),
        }
    }

    /// A segment, opened for reading.
    pub(super) fn open(&self, number: u32) -> Result<Arc<dyn FileHandle>, LogError> {
        if let Place::Packed(_, packed) = &self.place {
            return Ok(packed.segment(number));
        }
        if let Some(file) = lock(&self.handles).get(&number) {
            return Ok(Arc::clone(file));
        }
        let path = self.path(number);
        let file = self.files.open_read(&path).map_err(LogError::io("open", &path))?;
        let mut handles = lock(&self.handles);
        if handles.len() >= HANDLES_MAX {
            handles.pop_first();
        }
        handles.insert(number, Arc::clone(&file));
        Ok(file)
    }
}
