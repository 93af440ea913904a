//! The settings: read from three layers, checked, and handed out in parts.
//!
//! ```text
//! config/default.toml (embedded)  <  --config FILE or ./jcas.toml  <  JCAS__SECTION__KEY
//!          `--------------- layers: one tree, with sources ---------------'
//!                                       | serde
//!                         one struct a section, validate()
//! ```
//!
//! `default.toml` is complete, so it is also the list of the keys there are: no section has a
//! `Default` of its own. Whatever is wrong is collected and named at once. A [`Config`] is taken
//! apart where the program is put together; no room keeps it whole.
//!
//! It must never hold a secret: those come by the path of a file, so that faults, which quote what
//! was found, can be printed.

pub mod actors;
pub mod demo;
pub mod erasure;
pub mod fault;
pub mod guessing;
pub mod hash;
pub mod http;
pub mod keys;
pub mod limits;
pub mod log;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod phone;
pub mod replication;
pub mod state;
pub mod sync;

mod layers;
mod nearest;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;

use self::actors::ActorsConfig;
use self::demo::DemoConfig;
use self::erasure::ErasureConfig;
use self::fault::{ConfigFaults, Review};
use self::guessing::GuessingConfig;
use self::hash::HashConfig;
use self::http::HttpConfig;
use self::keys::KeysConfig;
use self::layers::Layers;
use self::limits::LimitsConfig;
use self::log::LogConfig;
use self::logging::LoggingConfig;
use self::metrics::MetricsConfig;
use self::node::NodeConfig;
use self::phone::PhoneConfig;
use self::replication::ReplicationConfig;
use self::state::StateConfig;
use self::sync::SyncConfig;

/// The text of `config/default.toml`: every setting, its meaning, its range and its default.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// The file read from the working directory when no other is named.
pub const LOCAL_FILE: &str = "jcas.toml";

/// What the names of environment variables that are settings begin with.
pub const ENV_PREFIX: &str = "JCAS__";

/// Every setting, a struct a section. Take the sections out and pass those on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which node this is, and where it keeps what it knows.
    pub node: NodeConfig,
    /// The listeners.
    pub http: HttpConfig,
    /// The event log.
    pub log: LogConfig,
    /// What the log folds to.
    pub state: StateConfig,
    /// How much may wait at the actors.
    pub actors: ActorsConfig,
    /// Password hashing.
    pub hash: HashConfig,
    /// How often passwords may be tried.
    pub guessing: GuessingConfig,
    /// How often an API key may do what.
    pub limits: LimitsConfig,
    /// Keys and who keeps them.
    pub keys: KeysConfig,
    /// Forgetting people.
    pub erasure: ErasureConfig,
    /// Phone numbers.
    pub phone: PhoneConfig,
    /// Bulk syncs.
    pub sync: SyncConfig,
    /// The way to other nodes.
    pub replication: ReplicationConfig,
    /// Figures for Prometheus.
    pub metrics: MetricsConfig,
    /// `jcas demo`.
    pub demo: DemoConfig,
    /// What is written to standard error.
    pub logging: LoggingConfig,
}

impl Config {
    /// The settings of this process: the defaults, under `file` (or `./jcas.toml` where none is
    /// given and there is one), under the variables of `env` that begin with `JCAS__`
    /// (`std::env::vars_os()`).
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigFaults> {
        Self::load_from(Path::new(""), file, env)
    }

    /// The settings as `default.toml` has them.
    pub fn embedded() -> Result<Self, ConfigFaults> {
        Layers::embedded().and_then(Layers::finish)
    }

    /// Checks a configuration that was changed since it was loaded. Loading checks already.
    pub fn validate(&self) -> Result<(), ConfigFaults> {
        let given = BTreeMap::new();
        let mut review = Review::new(&given, Vec::new());
        self.review(&mut review);
        review.finish()
    }

    /// As [`Self::load`], looking for `jcas.toml` in `folder`.
    fn load_from(
        folder: &Path,
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigFaults> {
        let mut layers = Layers::embedded()?;
        let local = folder.join(LOCAL_FILE);
        match file {
            Some(file) => layers.add_file(file),
            None if local.exists() => layers.add_file(&local),
            None => {}
        }
        layers.add_environment(env);
        layers.finish()
    }

    fn review(&self, review: &mut Review<'_>) {
        // Taken apart, so that a new section cannot be forgotten here.
        let Self {
            node,
            http,
            log,
            state,
            actors,
            hash,
            guessing,
            limits,
            keys,
            erasure,
            phone,
            sync,
            replication,
            metrics,
            demo,
            logging: _,
        } = self;
        node.validate(review);
        http.validate(review);
        log.validate(review);
        state.validate(review);
        actors.validate(review);
        hash.validate(review);
        guessing.validate(review);
        limits.validate(review);
        keys.validate(review);
        erasure.validate(review);
        phone.validate(review);
        sync.validate(review);
        replication.validate(review);
        metrics.validate(review);
        demo.validate(review);
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
