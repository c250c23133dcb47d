//! Requests of users to a session that is up, and the error of a request to a session that is
//! not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Live, Session, Stage};
use crate::answer::Progress;
use crate::error::CallError;
use crate::fault::Fault;
use crate::params::CallOptions;
use crate::report::Outcome;
use crate::wire::{CallFailure, Question};

/// The number of notifications of progress that wait for a slow callback.
const PROGRESS: usize = 64;
/// The time that the owner may take to record the cause of the session's end, once the protocol loop has
/// dropped a request.
const CAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Sends a request for the component `name`, or returns the reason why there is no result. It resolves once: with
    /// the answer, at the limit, or with the end of the session.
    ///
    /// # Cancel safety
    ///
    /// A request that is dropped before its answer tells the server so, without waiting.
    pub(crate) async fn ask(
        &self,
        live: &Live,
        name: &str,
        question: Question,
        options: CallOptions,
        usual: Option<Duration>,
    ) -> Result<Value, CallError> {
        let CallOptions { timeout, longest, meta, on_progress } = options;
        let idle = timeout.or(usual);
        let began = Instant::now();
        let within = |from: Instant| {
            // A limit beyond the end of the clock is no limit.
            let end =
                |from: Instant, limit: Option<Duration>| Some((from.checked_add(limit?)?, limit?));
            end(from, idle).into_iter().chain(end(began, longest)).min()
        };
        let mut end = within(began);
        let wants_progress = on_progress.is_some() || longest.is_some();
        let (sender, mut progress) = mpsc::channel(PROGRESS);
        let told = |progress: &Progress| {
            if let Some(each) = &on_progress {
                each.call(progress);
            }
        };
        let asking = live.connection.caller.ask(question, meta, wants_progress.then_some(sender));
        tokio::pin!(asking);
        let gone = self.wait_until(|stage| !matches!(stage, Stage::Up(_)));
        tokio::pin!(gone);
        let failure = loop {
            tokio::select! {
                biased;
                answer = &mut asking => {
                    // All progress that the server sent before its answer is there, and no more
                    // comes after it.
                    while let Ok(step) = progress.try_recv() {
                        told(&step);
                    }
                    match answer {
                        Ok(value) => return Ok(value),
                        Err(failure) => break failure,
                    }
                }
                stage = &mut gone => return Err(self.gone(stage)),
                Some(step) = progress.recv(), if wants_progress => {
                    if longest.is_some() {
                        end = within(Instant::now());
                    }
                    told(&step);
                }
                () = until(end) => {
                    let limit = end.map(|(_, limit)| limit).unwrap_or_default();
                    return Err(CallError::TimedOut { tool: name.to_owned(), limit });
                }
            }
        };
        let server = self.params.name.clone();
        match failure {
            CallFailure::Rejected { code, message, data } => {
                Err(CallError::Rejected { server, code, message, data })
            }
            CallFailure::Failed(fault) => Err(CallError::Failed {
                server,
                report: fault.report(None).into(),
                source: Some(Arc::new(fault)),
            }),
            // The owner sees the same end and knows its cause: it records it within a moment.
            CallFailure::Gone => {
                let stage = tokio::time::timeout(CAUSE, gone).await;
                Err(self.gone(stage.unwrap_or_else(|_| self.stage())))
            }
        }
    }

    /// The error of a request to this session when it is not up.
    pub(crate) fn gone(&self, stage: Stage) -> CallError {
        let server = self.params.name.clone();
        match stage {
            Stage::Leaving { fault: Some(fault) } => CallError::ServerGone {
                server,
                report: fault.report(None).into(),
                source: Some(Arc::new(fault)),
            },
            Stage::Left(finished) => match (&finished.ended_by, &finished.report.error) {
                (Some(fault), Some(report)) => CallError::ServerGone {
                    server,
                    report: report.clone().into(),
                    source: Some(Arc::new(fault.clone())),
                },
                _ => CallError::Left(server),
            },
            // The protocol loop has dropped the call alone.
            Stage::Up(_) => {
                let fault = Fault::new(Outcome::Other, "the call was given up before its answer");
                CallError::Failed {
                    server,
                    report: fault.report(None).into(),
                    source: Some(Arc::new(fault)),
                }
            }
            Stage::Connecting | Stage::Leaving { fault: None } => CallError::Closing(server),
        }
    }
}

/// Ready at `end`; never if there is none.
async fn until(end: Option<(Instant, Duration)>) {
    match end {
        Some((at, _)) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
