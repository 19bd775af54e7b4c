//! tests

pub mod backup_site;
pub mod cli;
pub mod docker;
pub mod docker_site;
pub mod judged;
pub mod legacy;
pub mod notary;
pub mod notary_keys;
pub mod notary_load;
pub mod notary_matrix;
pub mod peers;
pub mod pipeline;
pub mod programs;
pub mod publisher;
pub mod server;
pub mod sigstore_peers;
pub mod simulator;
pub mod story;

pub mod crash;
pub mod crash_server;
pub mod crash_trace;
pub mod store_contract;
