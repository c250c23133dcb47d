//! The types behind the functions: futures, the stream of [`TaskGroup::results`](crate::TaskGroup::results), and the
//! type parameters of generic types.
//!
//! They are for signatures and struct fields that have to name them; other code uses the functions that make them. All
//! futures are [`FusedFuture`](futures_core::FusedFuture)s, and pending once they have resolved.

pub use crate::checkpoint::{Checkpoint, CurrentCancelled, StopRequested};
pub use crate::group::{
    BoxChild, GroupRun, Join, LocalBoxChild, LocalReady, Ready, Results, Start,
};
pub use crate::scope::{Cancellation, ScopeRun, StopRequest, Tightening};
pub use crate::shield::Shield;
pub use crate::stack::{Close, Enter, Later, LocalLater, SendLater, StackRun};
pub use crate::timeout::{FailAt, MoveOn};
