//! tests

pub mod peers;
pub mod publisher;
pub mod server;

pub mod crash;
pub mod store_contract;
