//! The behaviour of the crate, a module per noun. Every test is named after the rule that it tests.
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

mod support;

mod abandon;
mod adoption;
mod affinity;
mod asleep;
mod auto_traits;
mod beside_shields;
mod chains;
mod children;
mod claims;
mod clocks;
mod convert;
mod cut;
mod deadlines;
#[cfg(feature = "smol")]
mod detectable;
mod dynamic;
mod errors;
mod failure;
mod first_poll;
mod fused;
mod grace;
mod group;
mod group_times;
mod groups;
mod handle;
mod handover;
mod hangs;
mod helpers;
mod hold;
mod leaks;
mod limits;
mod local;
mod looks;
mod moved;
mod newborn;
#[cfg(feature = "inspect")]
mod observed;
mod outermost;
mod parked;
mod pending;
mod posted;
mod prior_art;
mod record;
mod reentrant;
mod resource;
mod rules;
mod runtimes;
mod scope;
mod second_panic;
mod shapes;
mod shield;
mod shown;
mod stack;
mod stop;
mod surface;
mod task;
mod teach;
mod thread_end;
mod threads;
mod told;
mod turns;
mod unseen;
mod waits;
