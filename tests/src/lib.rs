//! tests

pub mod cli;
pub mod peers;
pub mod programs;
pub mod publisher;
pub mod server;
pub mod simulator;

pub mod crash;
pub mod crash_server;
pub mod store_contract;
