//! JCAS, a central authentication service.

pub mod accounts;
pub mod actors;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod deployment;
pub mod events;
pub mod files;
pub mod gauges;
pub mod health;
pub mod http;
pub mod kms;
pub mod log;
pub mod state;
