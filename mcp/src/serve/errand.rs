//! What a server asks and tells while it works on a client's request: it goes to that client.

use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientCapabilities, ClientResult,
    CustomNotification, CustomRequest, GetExtensions, RequestId, ServerNotification, ServerRequest,
};
use rmcp::service::{OriginatingRequestId, Peer, PeerRequestOptions, RoleServer, ServiceError};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::callbacks::{LogLevel, RequestError};

pub(super) const SAMPLE: &str = "sampling/createMessage";
pub(super) const ELICIT: &str = "elicitation/create";
pub(super) const LIST_ROOTS: &str = "roots/list";

/// A request of a client, as the server knows it that works on it.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) peer: Peer<RoleServer>,
    pub(super) id: RequestId,
    /// What the client answers.
    pub(super) can: ClientCapabilities,
    pub(super) way: Way,
    /// From which level on the client hears log messages.
    pub(super) log: Option<LogLevel>,
    pub(super) questions: Questions,
}

/// The questions to a client that it has not answered, and when it last did. A server that waits for a person is not slow.
#[derive(Debug, Clone, Default)]
pub(super) struct Questions(Arc<Mutex<(usize, Option<Instant>)>>);

impl Questions {
    /// Counts a question in until the returned value is dropped.
    fn begin(&self) -> Question {
        self.0.lock().0 += 1;
        Question(self.clone())
    }

    /// From when on the server is at work again; `None` while it waits for its client.
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

/// How a client is asked.
#[derive(Debug)]
pub(super) enum Way {
    /// By a request of ours.
    Request,
    /// By an answer to its request, which says what is wanted first; the client sends its request again.
    Answer(mpsc::Sender<Ask>),
    /// Not at all: all it can take is the answer.
    None,
}

/// A question to a client of the newer era.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) params: Value,
    pub(super) answer: oneshot::Sender<Value>,
}

impl Errand {
    /// Asks the client, and returns the result that it gives.
    ///
    /// # Cancel safety
    ///
    /// A client that was asked by a request is told where the future is dropped.
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
            // One that names no mode fills in forms.
            if by_address { it.url.is_some() } else { it.form.is_some() || it.url.is_none() }
        }),
        _ => false,
    }
}

/// Asks a client by a request, on the stream of its own request `of` where there is one.
///
/// # Cancel safety
///
/// A client that has not answered is told that nobody waits any more, where the future is dropped.
pub(super) async fn ask(
    peer: &Peer<RoleServer>,
    of: Option<&RequestId>,
    method: &str,
    params: Value,
) -> Result<Value, RequestError> {
    let params = Some(params).filter(|params| !params.is_null());
    let mut request = ServerRequest::CustomRequest(CustomRequest::new(method, params));
    if let Some(id) = of {
        // By hand, because rmcp knows it only inside of its own task.
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

/// Why a client has not answered. Its own error is passed on as it came.
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

/// A question that the client is told to forget, should this be dropped.
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
        // The first poll puts it into rmcp's queue. It has to be one that tokio does not put off, because it is the only one.
        let _queued = tokio::task::unconstrained(telling).now_or_never();
    }
}

/// Tells a client something, as it came. A client that reads nothing holds nobody else up for long.
pub(super) async fn tell(peer: &Peer<RoleServer>, method: &str, params: Value) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
    let params = Some(params).filter(|params| !params.is_null());
    let told = ServerNotification::CustomNotification(CustomNotification::new(method, params));
    let _gone_or_slow = tokio::time::timeout(PATIENCE, peer.send_notification(told)).await;
}
