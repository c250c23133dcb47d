//! The types behind the functions: futures, the stream of [`TaskGroup::results`](crate::TaskGroup::results), and what
//! generic types are generic over.
//!
//! They are for signatures and struct fields that have to name them; everything else goes through the functions that make
//! them. All futures are [`FusedFuture`](futures_core::FusedFuture)s, and pending once they have resolved.

pub use crate::checkpoint::{Checkpoint, CurrentCancelled, StopRequested};
pub use crate::group::{
    BoxChild, GroupRun, Join, LocalBoxChild, LocalReady, Ready, Results, Start,
};
pub use crate::scope::{Cancellation, ScopeRun, StopRequest};
pub use crate::shield::Shield;
pub use crate::stack::{Close, Enter, Later, LocalLater, SendLater, StackRun};
pub use crate::timeout::{FailAt, MoveOn};
