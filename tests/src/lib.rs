//! tests

pub mod peers;
