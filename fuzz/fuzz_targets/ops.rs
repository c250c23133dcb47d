//! Programs of regions against the reference: the property test's model, with the fuzzer choosing the seeds.
#![no_main]

#[path = "../../tests/model/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|seed: &[u8]| model::check(seed));
