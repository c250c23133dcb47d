//! The requests and notifications of a server while it works on a client's request: they go to that client.

use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientCapabilities, ClientResult,
    CustomNotification, CustomRequest, GetExtensions, RequestId, ServerNotification, ServerRequest,
};
use rmcp::service::{OriginatingRequestId, Peer, PeerRequestOptions, RoleServer, ServiceError};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::callbacks::{LogLevel, RequestError};

pub(super) const SAMPLE: &str = "sampling/createMessage";
pub(super) const ELICIT: &str = "elicitation/create";
pub(super) const LIST_ROOTS: &str = "roots/list";

/// A request of a client on which a server works.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) peer: Peer<RoleServer>,
    pub(super) id: RequestId,
    /// The capabilities of the client.
    pub(super) can: ClientCapabilities,
    pub(super) way: Way,
    /// The lowest level of the log messages that the client gets.
    pub(super) log: Option<LogLevel>,
    pub(super) questions: Questions,
}

/// The number of questions that a client has not answered, and the time of its last answer. While a server waits for a
/// person, its time limit does not run.
#[derive(Debug, Clone, Default)]
pub(super) struct Questions(Arc<Mutex<(usize, Option<Instant>)>>);

impl Questions {
    /// Counts a question in until the returned value is dropped.
    fn begin(&self) -> Question {
        self.0.lock().0 += 1;
        Question(self.clone())
    }

    /// The time since which the server has been working; `None` while it waits for its client.
    pub(super) fn at_work_since(&self, began: Instant) -> Option<Instant> {
        let (open, last) = *self.0.lock();
        (open == 0).then(|| last.map_or(began, |last| last.max(began)))
    }
}

/// A question that waits for its answer.
struct Question(Questions);

impl Drop for Question {
    fn drop(&mut self) {
        let mut questions = self.0.0.lock();
        *questions = (questions.0 - 1, Some(Instant::now()));
    }
}

/// The way to ask a client.
#[derive(Debug)]
pub(super) enum Way {
    /// By a request of the gateway.
    Request,
    /// By an answer to its request that contains the questions; the client sends its request again with the answers.
    Answer(mpsc::Sender<Ask>),
    /// Not at all, because it can receive only the answer.
    None,
}

/// A question to a client of the newer era.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) params: Value,
    /// Carries the answer. It is closed when the server no longer waits for it.
    pub(super) answer: oneshot::Sender<Value>,
}

impl Errand {
    /// Asks the client, and returns the result that it gives.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a client that was asked by a request is notified.
    pub(super) async fn ask(&self, method: &str, params: Value) -> Result<Value, RequestError> {
        if !answers(&self.can, method, &params) {
            let text = format!("the client that this is done for does not answer {method}");
            return Err(RequestError::new(RequestError::METHOD_NOT_FOUND, text));
        }
        let _question = self.questions.begin();
        match &self.way {
            Way::Request => ask(&self.peer, Some(&self.id), method, params).await,
            Way::Answer(asks) => {
                let (answer, given) = oneshot::channel();
                let ask = Ask { method: method.to_owned(), params, answer };
                let gone = || RequestError::internal("the client has not answered");
                asks.send(ask).await.map_err(|_| gone())?;
                given.await.map_err(|_| gone())
            }
            Way::None => {
                let text = "the client takes one JSON object for an answer, and cannot be asked";
                Err(RequestError::internal(text))
            }
        }
    }
}

/// Whether a client with these capabilities answers such a question.
pub(super) fn answers(can: &ClientCapabilities, method: &str, params: &Value) -> bool {
    match method {
        SAMPLE => can.sampling.is_some(),
        LIST_ROOTS => can.roots.is_some(),
        ELICIT => can.elicitation.as_ref().is_some_and(|it| {
            let by_address = params["mode"] == "url";
            // A client that names no mode supports forms.
            if by_address { it.url.is_some() } else { it.form.is_some() || it.url.is_none() }
        }),
        _ => false,
    }
}

/// Asks a client by a request, on the stream of its own request `of` if there is one.
///
/// # Cancel safety
///
/// If the future is dropped, the client is notified that its answer is no longer awaited.
pub(super) async fn ask(
    peer: &Peer<RoleServer>,
    of: Option<&RequestId>,
    method: &str,
    params: Value,
) -> Result<Value, RequestError> {
    let params = Some(params).filter(|params| !params.is_null());
    let mut request = ServerRequest::CustomRequest(CustomRequest::new(method, params));
    if let Some(id) = of {
        // Set here, because rmcp sets it only inside its own task.
        request.extensions_mut().insert(OriginatingRequestId(id.clone()));
    }
    let options = PeerRequestOptions::no_options();
    let sent = peer.send_request_with_option(request, options).await.map_err(failed)?;
    let mut unanswered = Unanswered { peer, id: Some(sent.id.clone()) };
    let answer = sent.await_response().await;
    unanswered.id = None;
    match answer.map_err(failed)? {
        ClientResult::CustomResult(result) => Ok(result.0),
        // Our reader lets no other one through.
        other => serde_json::to_value(other)
            .map_err(|error| RequestError::internal(format!("the answer is no JSON: {error}"))),
    }
}

/// The error for a client without an answer. The client's own error is passed on unchanged.
fn failed(error: ServiceError) -> RequestError {
    match error {
        ServiceError::McpError(error) => {
            let told = RequestError::new(error.code.0, error.message.into_owned());
            match error.data {
                Some(data) => told.with_data(data),
                None => told,
            }
        }
        other => RequestError::internal(format!("the client cannot be asked: {other}")),
    }
}

/// A question without an answer. Its drop tells the client to cancel it.
struct Unanswered<'a> {
    peer: &'a Peer<RoleServer>,
    id: Option<RequestId>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let reason = Some("nobody waits for the answer any more".to_owned());
        let told = CancelledNotification::new(CancelledNotificationParam::new(Some(id), reason));
        let telling = self.peer.send_notification(told.into());
        // The first poll puts the notification into rmcp's queue. It is unconstrained, because tokio must not postpone
        // the only poll.
        let _queued = tokio::task::unconstrained(telling).now_or_never();
    }
}

/// Passes a notification to a client, unchanged. A client that does not read delays the others for a bounded time only.
pub(super) async fn tell(peer: &Peer<RoleServer>, method: &str, params: Value) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
    // rmcp writes parameters that are not there as `null`, which is no message.
    let params = Some(if params.is_null() { json!({}) } else { params });
    let told = ServerNotification::CustomNotification(CustomNotification::new(method, params));
    let _gone_or_slow = tokio::time::timeout(PATIENCE, peer.send_notification(told)).await;
}
