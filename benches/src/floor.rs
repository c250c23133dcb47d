//! The floor: for each row of the page a sketch, the least safe code that keeps the promises of that row, measured
//! beside ours and the peer.
//!
//! A sketch is no lower bound. It is code that runs and that keeps the rules below; a row of ours that is above its
//! sketch costs more because of rules that the sketch leaves out, or because of overhead. Which of the two, the page
//! says row by row.
//!
//! | sketch | rules that it keeps | rules that it does not keep |
//! |---|---|---|
//! | `region`: scope, time-out, task | R1 owner and place; R2 at each poll; R3 a handle made on demand; R5 inside a task; R6; R8 what was abandoned during a poll goes to the region around, which runs it beside its body; R11 a timer of tokio, armed when the body is pending; R15 panics are caught and resumed | R2's error value (it panics); R5 outside a task; R9 for an outer region cancelled at once; R10 reasons; R11 deadlines that change, other clocks; R12; R13; a check from inside; names; inspection |
//! | `stack` | R1, R2, R8 also where another task drops the run, R14 but for the grace, R15 panics, places of failed exits | exits with errors of their own; R14's reason why an exit runs; grace; `hold`, `close`, `pop_all`, release |
//! | `group` | R1, R2, R3 through a child's handle, R8, R15, R16 closed under the lock that spawns take, R17, R19 a place is used again | a handle of the group; limits, results, `start`, a spawner for other threads; R7's order between children |
//! | `executor` | R1, R3 for the group, R6, R8, R15, R16 but for the close, R19 | R17; exits of a child that is aborted; a child's own handle |
//! | `cancel` | R3, R6, R14 no recursion, R18, R19 | R9, R10, R12, R13 |
//!
//! None of them lets a region find the regions around it, so none can tell a waiter about a cancellation further out
//! unless `cancel` links it. None has a `local` flavour.

mod cancel;
mod executor;
mod group;
mod here;
mod region;
mod stack;

pub use cancel::Node;
pub use executor::{Crew, Value};
pub use group::{ChildError, Group, GroupRun, Handle, Outcome};
pub use region::{Flag, Scope, ScopeRun, Task, Timed, task, timed};
pub use stack::{Stack, StackRun};

/// `Debug` that prints the name of the type: a future's parts are not shown.
macro_rules! named {
    ([$($generics:tt)*] $type:ty, $name:literal) => {
        impl<$($generics)*> std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($name)
            }
        }
    };
}
use named;
