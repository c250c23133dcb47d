//! Exchanges that go on after their caller has gone away: their answer may carry the id of a session that has to be ended, or
//! another exchange must not overtake them.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moored::{CancelHandle, CancelScope, GroupSpawner, TaskHandle};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::wire::stop::Stop;

/// The time that such an exchange may take after the stop of its session.
const LATE: Duration = Duration::from_millis(300);
/// No limit but the stop of the session, for an exchange that has lost its caller.
pub(super) const UNTIL_STOPPED: Duration = Duration::MAX;

/// The exchanges of a session that do not depend on their callers. They are children of the session's group.
#[derive(Debug)]
pub(super) struct Outliving {
    group: GroupSpawner<'static, Infallible>,
    stop: Stop,
    all: Mutex<Vec<(TaskHandle<()>, CancelHandle)>>,
}

impl Outliving {
    pub(super) fn new(group: GroupSpawner<'static, Infallible>, stop: Stop) -> Self {
        Self { group, stop, all: Mutex::default() }
    }

    /// Begins `exchange`, and waits for its result; `None` if it was given up, or if the session has been stopped before it
    /// began. If the returned future is dropped, the exchange goes on for the time `alone`.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        alone: Duration,
        exchange: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, Option<T>> {
        let scope = CancelScope::new().named("an exchange");
        let end = scope.handle();
        let (mut done, result) = oneshot::channel();
        // Leaving waits for the guard.
        let Some(guard) = self.stop.exchange() else { return std::future::ready(None).boxed() };
        let stop = self.stop.clone();
        let child = self.group.spawn(async move {
            let _under_way = guard;
            if stop.is_requested() {
                return Ok(());
            }
            let alone = async {
                done.closed().await;
                tokio::time::sleep(alone).await;
            };
            let late = async {
                stop.requested().await;
                tokio::time::sleep(LATE).await;
            };
            let within_time = async {
                tokio::select! {
                    biased;
                    result = exchange => Some(result),
                    () = late => None,
                    () = alone => None,
                }
            };
            if let Ok(Some(result)) = scope.run(within_time).await {
                let _nobody_waits = done.send(result);
            }
            Ok(())
        });
        // A group that has closed drops the exchange.
        if let Ok(child) = child {
            let mut all = self.all.lock();
            all.retain(|(child, _)| !child.is_finished());
            all.push((child, end));
        }
        result.map(Result::ok).boxed()
    }

    /// Ends all exchanges that are under way.
    pub(super) fn give_up(&self) {
        let all = std::mem::take(&mut *self.all.lock());
        all.iter().for_each(|(_, end)| end.cancel());
    }
}
