//! An attempt to connect, as its caller waits for it.

use std::sync::Arc;

use crate::error::ConnectError;
use crate::report::SessionInfo;
use crate::session::{Finished, Session, Stage, ended};

/// The wait of one caller for one attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) session: Arc<Session>,
    pub(super) budget: std::time::Duration,
    pub(super) settled: bool,
}

impl Attempt {
    /// Waits until the session is up, or has been left.
    pub(super) async fn outcome(mut self) -> Result<SessionInfo, ConnectError> {
        let known = |stage: &Stage| matches!(stage, Stage::Up(_) | Stage::Left(_));
        let stage = self.session.wait_until(known).await;
        self.settled = true;
        match stage {
            Stage::Up(live) => Ok(live.info.clone()),
            Stage::Left(finished) => self.failed(&finished),
            Stage::Connecting | Stage::Leaving { .. } | Stage::Down(_) => {
                unreachable!("the wait is for the other two")
            }
        }
    }

    fn failed(&self, finished: &Finished) -> Result<SessionInfo, ConnectError> {
        // It was up for too short a time to be seen: the cause of its end is the result.
        Err(finished.error.clone().unwrap_or_else(|| ended(&self.session, finished)))
    }
}

impl Drop for Attempt {
    /// A caller that drops its wait no longer needs the session; its owner is told and cleans up.
    fn drop(&mut self) {
        if !self.settled {
            self.session.orders.leave_within(self.budget);
        }
    }
}
