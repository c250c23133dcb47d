//! What a child writes to its standard output, cut into pieces of any size.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moored_mcp::fuzzing::stdout(input));
