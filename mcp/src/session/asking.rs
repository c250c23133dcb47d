//! Requests of users to a session that is up, and the error of a request to a session that is
//! not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::rounds::Rounds;
use super::{Connection, Live, Session, Stage};
use crate::answer::Progress;
use crate::error::CallError;
use crate::fault::Fault;
use crate::params::{CallOptions, OnProgress};
use crate::report::Outcome;
use crate::wire::{Beside, CallFailure, Input, Question};

/// The number of notifications of progress that wait for a slow callback.
const PROGRESS: usize = 64;
/// The limit for sending a notification.
const NOTIFY: Duration = Duration::from_secs(30);
/// The time that the owner may take to record the cause of the session's end, once the protocol loop has
/// dropped a request.
const CAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Sends a request for the component `name`, or returns the reason why there is no result. It resolves once: with
    /// the answer, at the limit, or with the end of the session. A server that asks for more input before it answers gets
    /// it from the callbacks, if they answer all of it.
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
        let mut limits = Limits::of(&options, usual);
        let mut rounds = Rounds::of(&options);
        let CallOptions { meta, on_progress, tag, input_responses, request_state, .. } = options;
        let input = Input { responses: input_responses, state: request_state };
        let mut beside = Beside { meta, progress: None, tag, input };
        let Some(desk) = live.connection.caller.desk() else {
            return self.ask_once(live, name, question, beside, &on_progress, &mut limits).await;
        };
        loop {
            let (again, with) = (question.clone(), beside.clone());
            let answer = self.ask_once(live, name, again, with, &on_progress, &mut limits).await?;
            let Some(wanted) = rounds.wanted(&answer, desk) else { return Ok(answer) };
            if rounds.are_over() {
                return Err(self.failed(rounds.fault()));
            }
            let given = wanted.given(desk, beside.tag.as_ref());
            beside.input = tokio::select! {
                biased;
                stage = self.ended(&live.connection) => {
                    return Err(self.gone_from(&live.connection, stage));
                }
                given = given => given.map_err(|fault| self.failed(fault))?,
                limit = limits.whole() => return Err(timed_out(name, limit)),
            };
            limits.begin_anew();
        }
    }

    /// Sends one request.
    async fn ask_once(
        &self,
        live: &Live,
        name: &str,
        question: Question,
        mut beside: Beside,
        on_progress: &Option<OnProgress>,
        limits: &mut Limits,
    ) -> Result<Value, CallError> {
        let wants_progress = on_progress.is_some() || limits.are_extended();
        let (sender, mut progress) = mpsc::channel(PROGRESS);
        beside.progress = wants_progress.then_some(sender);
        let told = |progress: &Progress| {
            if let Some(each) = on_progress {
                each.call(progress);
            }
        };
        let asking = live.connection.caller.ask(question, beside);
        tokio::pin!(asking);
        let gone = self.ended(&live.connection);
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
                stage = &mut gone => return Err(self.gone_from(&live.connection, stage)),
                Some(step) = progress.recv(), if wants_progress => {
                    if limits.are_extended() {
                        limits.begin_anew();
                    }
                    told(&step);
                }
                limit = limits.reached() => return Err(timed_out(name, limit)),
            }
        };
        Err(match failure {
            CallFailure::Rejected { code, message, mut data } => {
                // Hidden in the transport, unless the session is adopted and has a transport of its own.
                let message = self.secrets.hide(&message).into_owned();
                data.iter_mut().for_each(|data| self.secrets.hide_in_value(data));
                CallError::Rejected { server: self.params.name.clone(), code, message, data }
            }
            CallFailure::Failed(fault) => self.failed(fault),
            // The owner sees the same end and knows its cause: it records it within a moment.
            CallFailure::Gone => {
                let stage = tokio::time::timeout(CAUSE, gone).await;
                self.gone_from(&live.connection, stage.unwrap_or_else(|_| self.stage()))
            }
        })
    }

    /// Sends a notification, or returns the reason why it cannot be sent.
    pub(crate) async fn notify(
        &self,
        live: &Live,
        method: String,
        params: Map<String, Value>,
    ) -> Result<(), CallError> {
        let sent =
            tokio::time::timeout(NOTIFY, live.connection.caller.notify(method.clone(), params))
                .await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(CallFailure::Failed(fault))) => Err(self.failed(fault)),
            Ok(Err(_)) => Err(self.gone(self.stage())),
            Err(_) => Err(timed_out(&method, NOTIFY)),
        }
    }

    /// The error of a request that failed although the session may still be up.
    fn failed(&self, fault: Fault) -> CallError {
        CallError::failed(self.params.name.clone(), &fault)
    }

    /// Waits for the end of a connection. The session may be up again by then, with another one.
    async fn ended(&self, connection: &Arc<Connection>) -> Stage {
        let is_it = |stage: &Stage| matches!(stage, Stage::Up(up) if Arc::ptr_eq(&up.connection, connection));
        self.wait_until(|stage| !is_it(stage)).await
    }

    /// The error of a request that was under way on a connection that has ended.
    fn gone_from(&self, connection: &Connection, stage: Stage) -> CallError {
        match connection.ended_by.get() {
            // The report of a session that was left has the end of standard error as well.
            Some(fault) if !matches!(stage, Stage::Left(_)) => {
                CallError::server_gone(self.params.name.clone(), fault.report(None), fault)
            }
            _ => self.gone(stage),
        }
    }

    /// The error of a request to this session when it is not up.
    pub(crate) fn gone(&self, stage: Stage) -> CallError {
        let server = self.params.name.clone();
        match stage {
            Stage::Leaving { fault: Some(fault) } => {
                CallError::server_gone(server, fault.report(None), &fault)
            }
            Stage::Down(down) => CallError::server_gone(server, down.report.clone(), &down.fault),
            Stage::Left(finished) => match (&finished.ended_by, &finished.report.error) {
                (Some(fault), Some(report)) => {
                    CallError::server_gone(server, report.clone(), fault)
                }
                _ => CallError::Left(server),
            },
            // The protocol loop has dropped the call alone.
            Stage::Up(_) => {
                self.failed(Fault::new(Outcome::Other, "the call was given up before its answer"))
            }
            Stage::Connecting | Stage::Leaving { fault: None } => CallError::Closing(server),
        }
    }
}

fn timed_out(name: &str, limit: Duration) -> CallError {
    CallError::TimedOut { tool: name.to_owned(), limit }
}

/// The limits of a request.
#[derive(Debug)]
struct Limits {
    /// The limit between two signs of life.
    idle: Option<Duration>,
    /// The limit of the whole request.
    longest: Option<Duration>,
    began: Instant,
    /// The last sign of life.
    alive: Instant,
}

impl Limits {
    fn of(options: &CallOptions, usual: Option<Duration>) -> Self {
        let now = Instant::now();
        let idle = options.timeout.or(usual);
        Self { idle, longest: options.longest, began: now, alive: now }
    }

    /// Whether progress is a sign of life.
    fn are_extended(&self) -> bool {
        self.longest.is_some()
    }

    /// The server is alive, or was asked once more.
    fn begin_anew(&mut self) {
        self.alive = Instant::now();
    }

    /// Ready at the nearer end, with its limit; never if there is none.
    async fn reached(&self) -> Duration {
        let ends = [end(self.alive, self.idle), end(self.began, self.longest)];
        until(ends.into_iter().flatten().min()).await
    }

    /// Ready at the end of the whole.
    async fn whole(&self) -> Duration {
        until(end(self.began, self.longest)).await
    }
}

/// A limit beyond the end of the clock is no limit.
fn end(from: Instant, limit: Option<Duration>) -> Option<(Instant, Duration)> {
    Some((from.checked_add(limit?)?, limit?))
}

async fn until(end: Option<(Instant, Duration)>) -> Duration {
    match end {
        Some((at, limit)) => {
            tokio::time::sleep_until(at).await;
            limit
        }
        None => std::future::pending().await,
    }
}
