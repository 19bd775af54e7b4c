//! tests

pub mod peers;
pub mod publisher;
pub mod server;
