//! The keeper: the task in which a group's owners are spawned, and which outlives every one of them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use moored::rt::tokio::Tokio;
use moored::{CancelScope, TaskGroup};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::State;
use crate::order::Ordered;
use crate::session::{Session, owner};

/// The time at which closing began, and the time at which the last session had been left. From then on the report of the
/// group does not change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// The end of a group. A watch, because any number of callers wait for it, also later.
pub(super) type End = watch::Receiver<Option<Closed>>;

/// Runs until the group is closed or its last clone is dropped, then until the last owner has left; then it
/// reports.
///
/// The owners are siblings that share no stack: each enters and leaves its own, and an owner that fails puts that into
/// its own report, without an effect on its siblings.
pub(super) async fn keep(
    state: Arc<State>,
    serving: CancelScope,
    calls: TaskGroup<'static, Infallible>,
    mut newcomers: mpsc::UnboundedReceiver<(Arc<Session>, Ordered)>,
    end: watch::Sender<Option<Closed>>,
) {
    let farewell = Farewell { state: state.clone(), end };
    let owners = TaskGroup::<Infallible>::new().named("sessions").keep_going();
    let left = owners
        .run(async {
            let spawn = |(session, ordered)| {
                // Boxed, because it is large, and a spawn moves it several times.
                let owner = Box::pin(owner::own(session, ordered, state.shared.clone()));
                owners.spawn_on(&Tokio::current(), async {
                    owner.await;
                    Ok(())
                })
            };
            // The calls run in tasks of their callers. Their group waits for them when it is stopped, to drain, and not
            // when it is cancelled.
            let served = serving.run(calls.run(async {
                let mut stop = pin!(moored::stop_requested());
                loop {
                    tokio::select! {
                        biased;
                        newcomer = newcomers.recv() => match newcomer {
                            Some(session) => drop(spawn(session)),
                            None => break,
                        },
                        () = &mut stop => break,
                    }
                }
                state.bound_draining(&serving);
                Ok(())
            }));
            // Cancelled by `close`, or by the end of the budget for draining.
            let _ = served.await;
            // A session that was registered before the group closed is already in the queue.
            newcomers.close();
            while let Some(session) = newcomers.recv().await {
                drop(spawn(session));
            }
            // The group was dropped rather than closed: the sessions are left all the same.
            state.begin_closing();
            Ok(())
        })
        .await;
    if let Err(failure) = left {
        tracing::warn!("the sessions were left with a failure: {failure}");
    }
    state.shared.end_guard().await;
    drop(farewell);
}

/// The keeper's last step. It is a guard, because an owner's panic is resumed in the keeper, and a wait for the
/// report must end all the same.
#[derive(Debug)]
struct Farewell {
    state: Arc<State>,
    end: watch::Sender<Option<Closed>>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let began = self.state.begin_closing().began;
        self.end.send_replace(Some(Closed { began, ended: Instant::now() }));
        // Each connection that the clients keep has a task, which ends now. They are many, and the callers wait for the
        // report only.
        self.state.shared.drop_clients();
        self.state.shared.drop_spent();
    }
}
