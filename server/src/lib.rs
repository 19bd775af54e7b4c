//! server
pub mod store;
