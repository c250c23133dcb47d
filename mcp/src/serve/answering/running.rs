//! A request on which a server works. In the newer era it outlives the client's request, if the client is asked by an
//! answer.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rmcp::ErrorData;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RoleServer};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::errand::{Ask, Questions};
use crate::answer::Progress;
use crate::callbacks::Why;

/// A request under way. Dropping it cancels it at the server.
pub(in super::super) struct Running {
    /// The content of the request, because another request cannot resume it.
    pub(in super::super) what: String,
    pub(super) call: BoxFuture<'static, Result<Value, ErrorData>>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) steps: mpsc::Receiver<Progress>,
    /// The limit between two signs of life of the server.
    pub(super) limit: Option<Duration>,
    pub(super) questions: Questions,
    /// The place for the reason for which its client gives it up.
    pub(super) why: Why,
    /// The questions without an answer, in the newer era.
    pub(super) open: BTreeMap<String, (Value, oneshot::Sender<Value>)>,
    pub(super) asked: u64,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("what", &self.what).field("open", &self.open.len()).finish()
    }
}

/// The result of waiting for a request.
#[derive(Debug)]
pub(super) enum Came {
    /// The answer.
    To(Result<Value, ErrorData>),
    /// The time limit was exceeded. The request is cancelled by its drop.
    Late(Duration),
    /// Questions to its client.
    Asking,
}

impl Running {
    /// Waits for an answer or a question. Progress is passed on meanwhile, in order, and before the answer.
    pub(super) async fn go_on(
        &mut self,
        peer: &Peer<RoleServer>,
        token: Option<&ProgressToken>,
    ) -> Came {
        let mut alive = Instant::now();
        loop {
            let limit = self.limit;
            tokio::select! {
                biased;
                Some(step) = self.steps.recv() => {
                    alive = Instant::now();
                    tell(peer, token, step).await;
                }
                result = &mut self.call => {
                    while let Ok(step) = self.steps.try_recv() {
                        tell(peer, token, step).await;
                    }
                    return Came::To(result);
                }
                Some(ask) = self.asks.recv() => {
                    self.take(ask);
                    while let Ok(ask) = self.asks.try_recv() {
                        self.take(ask);
                    }
                    return Came::Asking;
                }
                () = silence(alive, limit, &self.questions) => {
                    return Came::Late(limit.unwrap_or_default());
                }
            }
        }
    }

    fn take(&mut self, ask: Ask) {
        self.asked += 1;
        let request = json!({"method": ask.method, "params": ask.params});
        self.open.insert(self.asked.to_string(), (request, ask.answer));
    }

    /// Passes the client's answers to the server.
    pub(super) fn answered(&mut self, responses: impl IntoIterator<Item = (String, Value)>) {
        for (key, response) in responses {
            if let Some((_, answer)) = self.open.remove(&key) {
                // A failure is ignored, because the server may have withdrawn its question.
                let _gone = answer.send(response);
            }
        }
    }

    /// Whether a question is open whose answer the server still awaits.
    pub(super) fn is_asking(&mut self) -> bool {
        self.open.retain(|_, (_, answer)| !answer.is_closed());
        !self.open.is_empty()
    }

    /// The answer that contains the questions to the client.
    pub(super) fn question(&self) -> Map<String, Value> {
        let requests = self.open.iter().map(|(key, (request, _))| (key.clone(), request.clone()));
        Map::from_iter([
            ("resultType".to_owned(), json!("input_required")),
            ("inputRequests".to_owned(), Value::Object(requests.collect())),
        ])
    }
}

/// Ready when the server has been silent for its limit; never without a limit. The time in which it waits for its
/// client does not count.
async fn silence(alive: Instant, limit: Option<Duration>, questions: &Questions) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let since = questions.at_work_since(alive).unwrap_or_else(Instant::now);
        // A limit beyond the end of the clock is no limit.
        let Some(end) = since.checked_add(limit) else { return std::future::pending().await };
        if end <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(end).await;
    }
}

async fn tell(peer: &Peer<RoleServer>, token: Option<&ProgressToken>, step: Progress) {
    let Some(token) = token else { return };
    let mut told = ProgressNotificationParam::new(token.clone(), step.progress);
    (told.total, told.message) = (step.total, step.message);
    // A failure is ignored, because the end of a client is noticed elsewhere.
    let _gone = peer.notify_progress(told).await;
}
