//! The handle that may spawn into a local group.

use crate::group::{GroupGuard, LocalBoxChild, TaskHandle, WeakShared, in_task_from_anywhere};
use crate::opaque::opaque;
use crate::sync::Arc;
use crate::wrong_task::Rejected;
use std::future::Future;
use std::panic::Location;

/// A handle that may spawn into a local [`TaskGroup`](super::TaskGroup); see [`GroupSpawner`](crate::GroupSpawner).
pub struct GroupSpawner<'env, E> {
    pub(super) group: WeakShared<E, LocalBoxChild<'env, E>>,
}

in_task_from_anywhere!(GroupSpawner, LocalBoxChild, Future);

opaque!({E} GroupSpawner<'_, E>);
