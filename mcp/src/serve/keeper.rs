//! The keeper: the task that owns the regions of a gateway, one inside the other. It leaves them from the inside out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use moored::{CancelScope, TaskGroup};
use tokio::sync::watch;

use crate::group::SessionGroup;
use crate::report::CloseReport;

/// The slot of the one report of a gateway. A watch, because any number of callers wait for it, also later.
pub(super) type Report = watch::Receiver<Option<Arc<CloseReport>>>;

/// The time that connections may take to write their last answers, once the requests have ended.
const FLUSH: Duration = Duration::from_millis(500);

type Children = TaskGroup<'static, Infallible>;

/// The regions of a gateway, outermost first. Each group is inside a scope, which bounds the time that its children may
/// take to end by themselves.
pub(super) struct Regions {
    /// The region around all others. Cancelling it ends the gateway at once.
    pub(super) whole: CancelScope,
    pub(super) rest: Children,
    pub(super) flushing: CancelScope,
    pub(super) wires: Children,
    /// The region of the requests. Stopping it asks the gateway to close.
    pub(super) draining: CancelScope,
    pub(super) calls: Children,
}

impl Regions {
    pub(super) fn new(drain: Duration) -> Self {
        let group = |name: &str| TaskGroup::new().named(name).keep_going();
        Self {
            whole: CancelScope::new().named("gateway"),
            rest: group("sessions"),
            flushing: CancelScope::new().named("flushing").grace(FLUSH),
            wires: group("connections"),
            draining: CancelScope::new().named("draining").grace(drain),
            calls: group("requests"),
        }
    }

    /// Runs until the gateway is asked to close, leaves its regions, and closes the group of servers.
    pub(super) async fn keep(
        self,
        group: SessionGroup,
        report: watch::Sender<Option<Arc<CloseReport>>>,
    ) {
        let Self { whole, rest, flushing, wires, draining, calls } = self;
        let requests = async {
            moored::stop_requested().await;
            Ok(())
        };
        let connections = async {
            // The record contains only cancellations, because no child fails.
            let _ = draining.run(calls.run(requests)).await;
            flushing.stop();
            Ok(())
        };
        let ask = rest.handle();
        let all = async {
            let _ = flushing.run(wires.run(connections)).await;
            ask.cancel_because("the gateway has closed");
            Ok(())
        };
        let _ = whole.run(rest.run(all)).await;
        report.send_replace(Some(Arc::new(group.close().await)));
    }
}
