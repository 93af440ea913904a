//! Fills the log of a node that holds no event from an export, or from a log's folder.
//!
//! Seals come along, so that the node can pass others' events on. What it lacks against the nodes
//! it is to work with is another matter: it catches up before it answers, as a restored node does.
//! Where the bodies of keys were left out, the node only answers what can be asked of a state.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use super::replication::{CURSOR_FILE, REPLICATION_FOLDER};
use super::upkeep::{Scratch, of_deployment, remove_folder, said};
use super::{AppError, LOG_FOLDER, STATE_FOLDER, data_folder, log_folder};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::deployment::error::DeploymentError;
use crate::deployment::lock::lock;
use crate::deployment::{self, Deployment, catching_up, read_only};
use crate::events::codec;
use crate::events::ids::{RegionId, UserId};
use crate::events::record::{Header, LogPosition, Record, Register, Subject};
use crate::events::stamp::{Incarnation, Origin};
use crate::files::{Disk, Files};
use crate::log::{
    Append, AppendError, Batch, Committed, Entry, Log, LogError, LogOptions, LogReader, LogWriter,
    Refusal, StoredRecord,
};

/// Where an import is written to before it takes the log's place, in the data folder.
pub(super) const IMPORT_FOLDER: &str = "log.import";

/// Records of an import in one commit frame.
const IMPORT_RECORDS: usize = 4096;

/// Bytes of an import in one commit frame, roughly.
const IMPORT_BYTES: usize = 4 * 1024 * 1024;

/// Batches that may be on their way to the disk at once.
const UNDER_WAY_MAX: usize = 1024;

/// What an import brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Events.
    pub events: u64,
    /// Of these, events about keys whose bodies were left out. Where there are any, the node is
    /// read-only and hears no other node.
    pub keys_without_body: u64,
    /// Events of other regions that came without a seal: this node cannot pass them on.
    pub unsealed: u64,
}

/// Why an export was not imported. The node's data is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The data folder or a file in it is not as it must be.
    #[error(transparent)]
    App(#[from] AppError),
    /// The node has events already.
    #[error("the log in {} holds events already: import into an empty node only", folder.display())]
    NotEmpty {
        /// The log's folder.
        folder: PathBuf,
    },
    /// The records do not make a log.
    #[error("the export does not make a whole log; was it made of some events only?")]
    Refused(#[source] AppendError),
    /// The writer took nothing.
    #[error("the log did not take the records: {0}")]
    NotTaken(String),
}

impl From<LogError> for ImportError {
    fn from(error: LogError) -> Self {
        Self::App(error.into())
    }
}

impl From<DeploymentError> for ImportError {
    fn from(error: DeploymentError) -> Self {
        Self::App(error.into())
    }
}

/// Fills the log of a node that holds no event from an export of its deployment. The new log takes
/// the old one's place once it is whole; the state is folded anew at the next start.
pub fn import(
    config: &Config,
    file: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    let deployment = deployment::open(&data_folder(config))?;
    let _lock = lock(deployment.folder())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, file)?;
    of_deployment(&reader, file, &deployment)?;
    let folder = log_folder(deployment.folder());
    if holds_events(&files, &folder)? {
        return Err(ImportError::NotEmpty { folder });
    }
    let unborn = Scratch::new(deployment.folder().join(IMPORT_FOLDER))?;
    let imported = write(config, &deployment, (&files, &unborn.path), &reader, progress)?;
    mark(&deployment, &imported)?;
    // What was folded from another log must not be taken for this one's.
    remove_folder(&deployment.folder().join(STATE_FOLDER))?;
    remove_folder(&folder)?;
    fs::rename(&unborn.path, deployment.folder().join(LOG_FOLDER))
        .and_then(|()| files.sync_folder(deployment.folder()))
        .map_err(AppError::system("put the imported log in its place"))?;
    Ok(imported)
}

/// Says in the data folder what the node may do, before there is a log that it could do it with.
fn mark(deployment: &Deployment, imported: &Imported) -> Result<(), ImportError> {
    let folder = deployment.folder();
    if imported.keys_without_body > 0 {
        read_only::mark_durably(folder)?;
    } else {
        read_only::unmark(folder)?;
    }
    catching_up::mark_durably(folder)?;
    // It points into the log that was there before.
    match fs::remove_file(folder.join(REPLICATION_FOLDER).join(CURSOR_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AppError::system("remove the cursor of replication")(error).into())
        }
        _ => Ok(()),
    }
}

fn holds_events(files: &Arc<dyn Files>, folder: &Path) -> Result<bool, LogError> {
    let there = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if !there {
        return Ok(false);
    }
    Ok(LogReader::open_path(files, folder)?.scan(LogPosition::START, None).next().is_some())
}

/// Writes the records and seals of an export to a new log.
fn write(
    config: &Config,
    deployment: &Deployment,
    (files, folder): (&Arc<dyn Files>, &Path),
    reader: &LogReader,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    let description = deployment.description();
    let clock = SystemClock::new();
    let options = LogOptions {
        segment_bytes: u32::try_from(config.log.segment_mib << 20).unwrap_or(u32::MAX),
        stop_percent: u8::try_from(config.log.stop_percent).unwrap_or(100),
        ..LogOptions::new(description.deployment.id, Arc::new(move || clock.monotonic()))
    };
    let (log, _) = Log::open(Arc::clone(files), folder, options)?;
    // Lives count from 1: this one records nothing and is no record's.
    let incarnation = Incarnation { counter: 0, tag: 0 };
    let origin = Origin { region: description.region, node: description.node, incarnation };
    let writer = log.start_writer(origin, Box::new(|_| {}))?;
    let mut filling = Filling::new(writer, description.region);
    for entry in reader.entries(LogPosition::START, None) {
        match entry? {
            Entry::Record(stored) => {
                filling.take(stored)?;
                progress(filling.imported.events);
            }
            Entry::Seal { seal, next } => filling.seal(seal, next)?,
        }
    }
    filling.finish()
}

/// Records on their way into a log.
struct Filling {
    writer: LogWriter,
    own: RegionId,
    /// With the life each is of.
    batch: Vec<(Origin, Record)>,
    bytes: usize,
    under_way: VecDeque<mpsc::Receiver<Result<Committed, AppendError>>>,
    keys: Keys,
    imported: Imported,
}

impl Filling {
    fn new(writer: LogWriter, own: RegionId) -> Self {
        Self {
            writer,
            own,
            batch: Vec::new(),
            bytes: 0,
            under_way: VecDeque::new(),
            keys: Keys::default(),
            imported: Imported::default(),
        }
    }

    fn take(&mut self, stored: StoredRecord) -> Result<(), ImportError> {
        // Only now, so that a seal always has records before it in its batch.
        if self.batch.len() >= IMPORT_RECORDS || self.bytes >= IMPORT_BYTES {
            self.append_unsealed()?;
        }
        let StoredRecord { position, record, .. } = stored;
        let header = codec::decode_header(&record.header)
            .map_err(|source| LogError::Header { position, source })?;
        self.imported.events += 1;
        self.keys.note(&header, &record);
        self.bytes += record.body.as_ref().map_or(0, |body| body.len());
        self.batch.push((header.origin, record));
        Ok(())
    }

    /// Appends what came before a seal, with it.
    fn seal(&mut self, seal: Box<[u8]>, next: LogPosition) -> Result<(), ImportError> {
        let origin = codec::decode_seal(&seal)
            .map_err(|source| LogError::Header { position: next, source })?
            .origin;
        let of_others = self.batch.iter().rev().position(|(of, _)| *of != origin);
        let sealed = of_others.unwrap_or(self.batch.len());
        let sealed = self.batch.split_off(self.batch.len() - sealed);
        self.append_unsealed()?;
        if sealed.is_empty() {
            return Ok(());
        }
        let sealed = sealed.into_iter().map(|(_, record)| record).collect();
        self.append(Batch::Sealed(sealed, seal))
    }

    fn append_unsealed(&mut self) -> Result<(), ImportError> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let of_others = batch.iter().filter(|(origin, _)| origin.region != self.own).count();
        self.imported.unsealed += of_others as u64;
        self.append(Batch::Foreign(batch.into_iter().map(|(_, record)| record).collect()))
    }

    /// Gives a batch to the writer, which writes several at once.
    fn append(&mut self, batch: Batch) -> Result<(), ImportError> {
        if self.under_way.len() >= UNDER_WAY_MAX {
            self.wait()?;
        }
        let (sender, done) = mpsc::sync_channel(1);
        let mut append = Append {
            epoch: self.writer.epoch(),
            batch,
            done: Box::new(move |outcome| drop(sender.try_send(outcome))),
        };
        while let Err(refused) = self.writer.append(append) {
            if refused.reason != Refusal::Busy || self.under_way.is_empty() {
                return Err(ImportError::NotTaken(said(&refused.reason)));
            }
            append = refused.append;
            self.wait()?;
        }
        self.under_way.push_back(done);
        Ok(())
    }

    /// Waits until the batch that waits longest is durable.
    fn wait(&mut self) -> Result<(), ImportError> {
        match self.under_way.pop_front().map(|done| done.recv()) {
            None | Some(Ok(Ok(_))) => Ok(()),
            Some(Ok(Err(error))) => Err(ImportError::Refused(error)),
            Some(Err(_)) => Err(ImportError::NotTaken("the writer ended".to_owned())),
        }
    }

    fn finish(mut self) -> Result<Imported, ImportError> {
        self.append_unsealed()?;
        while !self.under_way.is_empty() {
            self.wait()?;
        }
        self.writer.close();
        Ok(Imported { keys_without_body: self.keys.missing(), ..self.imported })
    }
}

/// Keys whose bodies are not there.
#[derive(Default)]
struct Keys {
    /// Of branches and companies.
    shared: u64,
    /// Whose: an erased user's are rightly gone.
    users: Vec<UserId>,
    erased: HashSet<UserId>,
}

impl Keys {
    fn note(&mut self, header: &Header, record: &Record) {
        match (header.register, header.subject) {
            (Register::Erasure, Subject::User(user)) => {
                self.erased.insert(user);
            }
            (Register::UserKey(_), Subject::User(user)) if record.body.is_none() => {
                self.users.push(user);
            }
            (Register::BranchKey(_) | Register::ApiKey(_), _) if record.body.is_none() => {
                self.shared += 1;
            }
            _ => {}
        }
    }

    fn missing(&self) -> u64 {
        let of_users = self.users.iter().filter(|user| !self.erased.contains(user)).count();
        self.shared + of_users as u64
    }
}
