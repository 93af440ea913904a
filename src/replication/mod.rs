//! The way between nodes.

pub mod link;
pub mod memory;
pub mod relay;
