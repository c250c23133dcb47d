//! What loom cannot hold: whole groups with exits on many threads, under thousands of random schedules.
//!
//! `bash ci/shuttle.sh` runs them. A failure prints the schedule; how it is replayed stands in `support.rs`. As in the
//! models, what only checks is `std`'s, so that shuttle explores the crate and not the test.
#![cfg(shuttle)]
// See above: what only checks stays outside the door that src/sync.rs is.
#![allow(clippy::disallowed_types)]

mod book;
mod support;

mod abandoned;
mod groups;
mod requests;
