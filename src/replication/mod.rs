//! The way between nodes.

pub mod link;
pub mod relay;
