//! Configurations, JSON and YAML: read or refused, and no value of the environment in what is shown.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moored_mcp::fuzzing::config(input));
