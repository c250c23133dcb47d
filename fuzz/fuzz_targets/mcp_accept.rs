//! The media types that a client of the gateway accepts.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moored_mcp::fuzzing::accept(input));
