//! The library against servers that misbehave: each test is one fault, and what is right then.

mod connect;
mod group;
mod http_faults;
mod leave;
mod stdio_faults;
mod support;
