//! Tests that are too large for loom: whole groups with exits on many threads, under thousands of
//! random schedules.
//!
//! `bash ci/shuttle.sh` runs them. A failure prints the schedule; `support.rs` tells how it is replayed. As in the
//! models, state that only checks is that of `std`, so that shuttle explores the crate and not the test.
#![cfg(shuttle)]
// See above: state that only checks does not use the types of src/sync.rs.
#![allow(clippy::disallowed_types)]

mod book;
mod support;

mod abandoned;
mod groups;
mod requests;
