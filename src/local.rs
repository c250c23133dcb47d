//! The same without `Send`, for one-threaded runtimes.
//!
//! Exits and children may hold what stays on its thread: `Rc`, `RefCell`, the handles of a browser. The
//! rules are the same. Exits of a dropped stack are adopted by the region around it, which is on the same
//! thread wherever the executor is one-threaded; what is left when the thread ends is
//! [reported](crate::set_report_hook) lost.
//!
//! # Task affinity
//!
//! A thread is not a task. A region of this module belongs to the task that entered it, as every region does (R2): on
//! one thread, too, another task is rejected.

mod group;
mod stack;

pub use group::{GroupSpawner, TaskGroup};
pub use stack::{ExitStack, Held};
