//! JCAS, a central authentication service.
//!
//! Every room is a module; a room may use only those it is allowed to (`tests/it/tidy.rs` says
//! which, and checks it). From the inside out:
//!
//! | room | holds |
//! |---|---|
//! | [`events`] | the core: what can happen, what it does to a state, what may be asked for |
//! | [`clock`] | time and randomness, as values handed in |
//! | [`files`] | the file system, as far as the log and the state need it |
//! | [`log`] | the truth: append-only files of events |
//! | [`state`] | what the log folds to, in sled: can be rebuilt |
//! | [`crypto`] | password hashes, legacy schemes, sealing, blind indexes |
//! | [`kms`] | who wraps the keys |
//! | [`spool`] | rows and verdicts of bulk syncs, sealed on disk |
//! | [`tokens`] | which signed tokens were used |
//! | [`deployment`] | the data folder's identity: names, keys, the operator's token |
//! | [`config`] | settings |
//! | [`actors`] | who owns what: shards, the directory, the registry |
//! | [`accounts`] | the use cases: register, log in, change |
//! | [`tls`] | the certificate that companies are served with |
//! | [`http`] | the face that companies and operators see |
//! | [`health`] [`gauges`] | how a node is, for probes and for /metrics |
//! | [`app`] | puts a node together, runs it, stops it |
//! | [`cli`] | the command line |

pub mod events;

pub mod clock;
pub mod files;

pub mod log;
pub mod replay;
pub mod replication;
pub mod state;
pub mod tokens;

pub mod crypto;
pub mod kms;
pub mod spool;

pub mod deployment;

pub mod config;

pub mod actors;

pub mod accounts;

pub mod tls;

pub mod http;

pub mod gauges;
pub mod health;

pub mod app;

pub mod cli;
