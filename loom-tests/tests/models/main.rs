//! Models: two or three threads act on one region at once. Each model has the one property that must hold in every
//! interleaving.
//!
//! `bash ci/loom.sh` runs them. A lost wake-up shows as loom's "deadlock", because `block_on` then waits for ever.
//! Handles and counters that only check are those of `std`, so that loom explores the crate and not the test.
#![cfg(loom)]
// See above: state that only checks does not use the types of src/sync.rs.
#![allow(clippy::disallowed_types)]

mod clock;
mod executors;
mod support;

mod adoption;
mod cancel;
mod chains;
mod children;
mod deadline;
mod depths;
mod entered;
mod group;
mod handle;
mod links;
mod new_executor_children;
mod on_executor;
mod outermost;
mod shield;
mod start;
mod stop;
mod wakers;
