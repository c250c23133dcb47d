//! The standard output of a child, cut into pieces of any size.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moored_mcp::fuzzing::stdout(input));
