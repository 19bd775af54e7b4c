#![no_main]

use bulla_keys_schema_fuzz::targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::vex_document(data);
});
