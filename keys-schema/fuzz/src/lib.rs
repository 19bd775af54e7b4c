//! What the fuzz programs run. The core's own tests run the same functions on a few
//! thousand inputs, without libFuzzer.

pub mod targets;
