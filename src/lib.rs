//! JCAS, a central authentication service. (The map of the rooms follows.)

pub mod events;
pub mod files;
