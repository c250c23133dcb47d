//! A task leaves what it entered, nobody else can, and no exit is lost on the way out.
//!
#![forbid(unsafe_code)]

mod checkpoint;
mod clock;
mod failure;
mod group;
mod identity;
mod reason;
mod region;
mod report;
pub mod rt;
mod scope;
mod spawn;
mod stack;
mod sync;
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod unwind;
mod wakers;
mod wrong_task;

pub use checkpoint::{Checkpoint, checkpoint, is_cancelled};
pub use clock::{Clock, Sleep};
pub use failure::{BoxError, Cancelled, Cause, ChildError, ExitFailure, Failure};
pub use group::{GroupRun, GroupSpawner, Join, TaskGroup, TaskHandle};
pub use identity::TaskId;
pub use reason::{Leaving, Reason, ReasonKind};
pub use report::{Report, set_report_hook};
pub use scope::{CancelHandle, CancelScope, Cancellation, ScopeRun};
pub use spawn::{BoxTask, Refused, Spawn};
pub use stack::{Close, CloseError, ExitOutput, ExitStack, Held, StackRun};
pub use task::{Task, task};
pub use wrong_task::{Misuse, Rejected, WrongTask};
