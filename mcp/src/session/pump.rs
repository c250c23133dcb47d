//! The pumps of a session: children of a group of its own, which the owner leaves last.

use std::convert::Infallible;
use std::time::Duration;

use moored::rt::tokio::Tokio;
use moored::{CancelHandle, CancelScope, Join, TaskGroup};

/// The group of a session's pumps. It is left when the last of them has ended.
pub(super) type Pumps = TaskGroup<'static, Infallible>;

/// A pump, as an exit sees it: the exit can wait for it, and ask it to stop.
#[derive(Debug)]
pub(super) struct Pump {
    scope: CancelHandle,
    ended: Join<()>,
}

impl Pump {
    /// Starts a pump on the runtime, as a child of `group`.
    pub(super) fn start(
        group: &Pumps,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let scope = CancelScope::new().named(name);
        let handle = scope.handle();
        let child = group.spawn_on(&Tokio::current(), async move {
            // Stopped or at its end: in both cases the pipe is closed now.
            let _ = scope.run(work).await;
            Ok(())
        });
        Self { scope: handle, ended: child.join() }
    }

    /// Waits for its end. After `patience` it is stopped.
    pub(super) async fn end(mut self, patience: Duration) {
        // Usually it needs one turn to end, and a timer costs more than that: it may wake another thread.
        tokio::task::yield_now().await;
        if tokio::time::timeout(patience, &mut self.ended).await.is_err() {
            self.scope.cancel_because("its pipe is no longer needed");
            let _ = self.ended.await;
        }
    }
}
