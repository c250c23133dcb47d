//! A task leaves what it entered, nobody else can, and no exit is lost on the way out.
//!
//! Cancelling a future is dropping it, and a dropped future runs no async code: `select!`, a timeout or
//! an abort skips its clean-up. Here exits live in a *region*, outside the body that may be dropped. The
//! task that entered the region leaves it, and runs the exits.
//!
//! ```
//! use moored::{BoxError, CancelScope, ExitStack};
//! use std::time::Duration;
//!
//! # futures::executor::block_on(async {
//! let scope = CancelScope::new().timeout(Duration::from_millis(5));
//! let stack = ExitStack::new();
//! let body = async {
//!     stack.defer(async { println!("roll back") }); // runs however this body ends
//!     std::future::pending::<Result<(), BoxError>>().await
//! };
//! let cancelled = scope.run(stack.run(body)).await.unwrap_err();
//! # assert_eq!(cancelled.reason().kind(), moored::ReasonKind::Deadline);
//! # });
//! ```
//!
//! # The nouns
//!
//! | noun | meaning |
//! |---|---|
//! | [`Task`] | a future with an identity, [`TaskId`]: from [`task()`], from a group, or from the runtime |
//! | [`CancelScope`] | a region that can be cancelled: through a handle, or by its deadline |
//! | [`ExitStack`] | a region that owns async exits, run last in, first out |
//! | [`TaskGroup`] | a cancel scope with children: it is left when the last child has left |
//! | [`CancelHandle`] | requests a cancellation from anywhere; it can neither enter nor leave |
//! | [`TaskHandle`] | a child's result, its cancellation, its id |
//! | [`Failure`] | the record of all errors and panics of a region; nothing in it is masked |
//!
//! A region is a local variable, and `run(body)` enters it and leaves it. There is no exit call to misuse.
//! The futures are `Send` if their bodies are, and no runtime is needed.
//!
//! # Guarantees
//!
//! * *Only the owner leaves.* A region records the task that entered it. Another task that leaves it, adds
//!   to it or polls it is rejected, by an error that names both tasks and both places; nothing is changed,
//!   and the argument is handed back (R1, R2). A cancellation may be requested from anywhere (R3).
//! * *Cancellation lands at an await.* The body is polled once more; if it is still pending it is dropped
//!   where it is parked, and the first reason is kept (R6, R10). A scope catches its own cancellation only:
//!   a scope inside a cancelled one is dropped with it and cannot swallow its cancellation (R9).
//! * *No exit is lost.* A region that is dropped before its exits have run hands them, the half-run one
//!   first, to the nearest live region around it, which runs them beside its own body and is not left
//!   before they have ended. If no region around is live, they are reported lost, by name (R7, R8): so put
//!   [`task()`] around a future that you give to an executor, as in `tokio::spawn(moored::task(serve()))`,
//!   or spawn it through a [`TaskGroup`].
//! * *Nothing is masked.* Leaving returns a record: the first real error first, every other one after
//!   it. A panic is resumed when everything else has left (R15).
//! * *No child outlives its group*, and the first failure cancels the others (R16, R17).
//! * *User code never runs under a lock*: wakers, drops, closures, exits (R18).
//!
//! The rules are numbered in [`guide::rules`]; docs, tests and errors cite the numbers. The first page of
//! the [`guide`] is [`start`](guide::start), ten minutes long.
//!
//! # Limits
//!
//! It is no runtime, and there is no parallel borrowing: in-task children borrow, executor children are
//! `'static`. Nothing blocks in `Drop`. An exit without a bound of its own may outlast every deadline
//! around it. A future that is leaked with `mem::forget` runs no exits, and neither does a killed
//! process.
//!
//! # The current task
//!
//! The current task is known while it is polled and while it is dropped (R5). An unknown task is never
//! rejected.
//!
//! | how the code runs | current task | rejected | accepted |
//! |---|---|---|---|
//! | [`task()`], a child of a group | itself, wherever it is polled | any other task's | its own |
//! | a region that nothing of `moored` encloses | the region, and tokio's id beside it | any other task's | its own |
//! | tokio task (feature `tokio`) | tokio's id | other tokio tasks', moored tasks' | its own |
//! | `block_on` body, `main` | none | nothing | everything |
//! | `LocalSet` | tokio's id; none in `run_until` of a `block_on` | as a tokio task | its own |
//! | smol task | none; a region in it is its own root | nothing outside that root | everything |
//! | plain thread | none | nothing | everything |
//! | scoped thread | none, not even the task that started it | nothing | everything |
//! | nested `block_on` | the task around it | as that task | everything of that task |
//! | drop at a runtime's shutdown | the task that is dropped | as that task | its own |
//!
//! A call in tokio's `spawn_blocking` is a tokio task with an id of its own. Each cell of the table is a test, in
//! `tests/it/detectable.rs`.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `timer` (default) | deadlines on every executor |
//! | `tokio` | the ids of tokio's tasks, its timer and paused clock, [`rt::tokio::Tokio`](rt) to spawn on |
//! | `smol` | [`rt::smol::Smol`](rt) to spawn on |
//! | `testing` | a clock that is moved by hand, futures that are polled by hand |
//! | `inspect` | the tree of open regions, now and over time |
//! | `tracing` | spans and events |
//!
//! With `--cfg loom`, the crate can be model-checked together with libraries that use it. Rust 1.85 or newer.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A lock of the model checkers is large, and a rejected stack with it.
#![cfg_attr(any(loom, shuttle), allow(clippy::result_large_err))]

mod checkpoint;
mod clock;
mod failure;
mod fused;
pub mod future;
mod group;
// Pages without code, for rustdoc. Their examples are tested if all features that they use are on.
#[cfg(all(
    doc,
    any(not(doctest), all(feature = "inspect", feature = "testing", feature = "tokio"))
))]
// The condition is no feature that a reader has to turn on.
#[cfg_attr(docsrs, doc(auto_cfg = false))]
pub mod guide;
mod identity;
#[cfg(feature = "inspect")]
pub mod inspect;
mod lasting;
pub mod local;
mod names;
mod opaque;
mod places;
mod reason;
mod region;
mod released;
mod report;
pub mod rt;
mod scope;
mod shield;
mod spawn;
mod stack;
mod sync;
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod timeout;
mod unwind;
mod wakers;
mod wrong_task;

pub use checkpoint::{
    cancelled, checkpoint, current_deadline, is_cancelled, is_stop_requested, stop_requested,
};
pub use clock::{Clock, Sleep};
pub use failure::{AnyError, BoxError, Cancelled, Cause, ChildError, ExitFailure, Failure};
pub use group::{GroupGuard, GroupSpawner, Outcome, TaskGroup, TaskHandle, Values};
pub use identity::TaskId;
pub use reason::{Leaving, Reason, ReasonKind};
pub use released::{Handover, Released};
pub use report::{Report, set_report_hook};
pub use scope::{CancelHandle, CancelScope, DropGuard, EnterError, EnteredScope, Left};
pub use shield::shield;
pub use spawn::{BoxTask, Refused, Spawn};
pub use stack::{CloseError, ExitOutput, ExitStack, Held, Resource};
#[doc(inline)]
pub use task::{Task, task};
pub use timeout::{TimedOut, fail_after, fail_at, move_on_after, move_on_at};
pub use wrong_task::{Misuse, Rejected, WrongTask};

// These types are public in `future`; they are re-exported so that they are found under the crate's
// own name.
#[doc(hidden)]
pub use future::*;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
