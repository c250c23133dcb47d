//! The keeper: the task in which a group's owners are spawned, and which outlives every one of them.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::State;
use crate::report::CloseReport;
use crate::session::{Session, owner};

/// Where the one report of a group appears.
pub(super) type Report = watch::Receiver<Option<Arc<CloseReport>>>;

/// Runs until the group is closed or nobody holds it any more, then until the last owner has left; then it reports.
pub(super) async fn keep(
    state: Arc<State>,
    mut newcomers: mpsc::UnboundedReceiver<Arc<Session>>,
    report: watch::Sender<Option<Arc<CloseReport>>>,
) {
    let mut owners = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            newcomer = newcomers.recv() => match newcomer {
                Some(session) => {
                    owners.spawn(owner::own(session, state.shared.clone()));
                }
                None => break,
            },
            () = state.closed.cancelled() => break,
            _ = owners.join_next(), if !owners.is_empty() => {}
        }
    }
    // Whoever was registered before the group closed is already in the queue.
    newcomers.close();
    while let Some(session) = newcomers.recv().await {
        owners.spawn(owner::own(session, state.shared.clone()));
    }
    // Dropped rather than closed: the sessions are left all the same.
    let closing = state.begin_closing();
    while owners.join_next().await.is_some() {}
    state.shared.drop_client();
    report.send_replace(Some(Arc::new(state.report(closing.began, Instant::now()))));
}
