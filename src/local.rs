//! The crate's types without `Send`, for one-threaded runtimes.
//!
//! Exits and children may hold values that stay on their thread: `Rc`, `RefCell`, the handles of a
//! browser. The rules are the same. Exits of a dropped stack are adopted by the region around it, which
//! is on the same thread if the executor is one-threaded. Exits that are left when the thread ends are
//! [reported](crate::set_report_hook) lost.
//!
//! # Task affinity
//!
//! A thread is not a task. A region of this module belongs to the task that entered it, as every region does (R2):
//! another task of the same thread is rejected.

mod group;
mod spawner;
mod stack;

pub use group::TaskGroup;
pub use spawner::GroupSpawner;
pub use stack::{ExitStack, Held};
