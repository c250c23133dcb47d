//! stdio as rmcp sees it: two bounded channels in memory. The pipes themselves belong to the session's pumps.
//!
//! Nothing here can block on the child: `send` waits for room in a queue, no longer than the session lives, and
//! `close` returns at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use rmcp::RoleClient;
use rmcp::model::{
    ClientConfig, ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerRequest,
    ServerResult,
};
use rmcp::transport::Transport;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::handshake::{Agreed, Line, Said};
use super::lists::Direct;
use super::message::{Kind, cancelled_id, early_answer, request_id};
use super::pending::Pending;
use super::recorder::Recorder;
use super::stop::Stop;

/// The child no longer reads, or no longer writes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    /// The session is being left, or the pipe broke.
    #[error("the pipe to the server's process is closed")]
    Closed,
    /// The message cannot be written as JSON.
    #[error("the message cannot be encoded")]
    Encode(#[source] serde_json::Error),
}

/// The transport handed to rmcp.
#[derive(Debug)]
pub(crate) struct PipeTransport {
    outbox: mpsc::Sender<Bytes>,
    inbox: mpsc::Receiver<Box<ServerJsonRpcMessage>>,
    stop: Stop,
    pending: Arc<Pending>,
    recorder: Arc<Recorder>,
    /// The server's answer to the first request, which rmcp will send once more.
    agreed: Option<Box<ServerResult>>,
    /// That answer and the id of rmcp's request, once it was sent.
    replay: Option<(RequestId, Box<ServerResult>)>,
}

impl PipeTransport {
    /// A transport over the queues of a session's pumps.
    pub(crate) fn new(
        outbox: mpsc::Sender<Bytes>,
        inbox: mpsc::Receiver<Box<ServerJsonRpcMessage>>,
        stop: Stop,
        pending: Arc<Pending>,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self { outbox, inbox, stop, pending, recorder, agreed: None, replay: None }
    }

    /// The way on which the lists of the server are requested, which has agreed on a revision with `client`.
    pub(crate) fn direct(&self, agreed: &Agreed, client: &ClientConfig) -> Direct {
        Direct::new(&self.outbox, self.pending.clone(), self.stop.clone(), agreed, client)
    }

    /// Stores the answer to rmcp's own first request.
    pub(crate) fn agreed(&mut self, answer: Box<ServerResult>) {
        self.agreed = Some(answer);
    }

    /// Hands a message to the pump if there is room for it at once; `None` if it has to wait.
    fn send_now(&self, message: &ClientJsonRpcMessage) -> Option<Result<(), PipeError>> {
        if self.stop.is_requested() {
            return Some(Err(PipeError::Closed));
        }
        match self.outbox.try_reserve() {
            Ok(room) => {
                self.pending.sent(message);
                Some(line(message).map(|line| room.send(line)))
            }
            Err(TrySendError::Full(())) => None,
            Err(TrySendError::Closed(())) => Some(Err(PipeError::Closed)),
        }
    }

    /// Answers a request that comes before the session is up.
    fn answer_early(&self, id: RequestId, request: &ServerRequest) {
        let answer = early_answer(id, request);
        // If the queue is full the child does not read, and an answer that is not read can be left out.
        if let Ok(line) = line(&answer) {
            let _full = self.outbox.try_send(line);
        }
    }
}

impl Line for PipeTransport {
    async fn ask(&mut self, request: ClientJsonRpcMessage) -> bool {
        self.pending.sent(&request);
        match line(&request) {
            Ok(line) => self.outbox.send(line).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn hear(&mut self) -> Option<(Option<RequestId>, Said)> {
        loop {
            match *self.inbox.recv().await? {
                ServerJsonRpcMessage::Response(response) => {
                    return Some((Some(response.id), Said::Result(Box::new(response.result))));
                }
                ServerJsonRpcMessage::Error(error) => {
                    return Some((error.id, Said::error(error.error)));
                }
                ServerJsonRpcMessage::Request(request) => {
                    self.answer_early(request.id, &request.request);
                }
                ServerJsonRpcMessage::Notification(_) => {}
            }
        }
    }

    /// rmcp ignores an answer that belongs to no request of its own.
    async fn settle(&mut self, _patience: Duration) {}
}

/// A message in the form of the pipe.
fn line(message: &ClientJsonRpcMessage) -> Result<Bytes, PipeError> {
    let mut line = serde_json::to_vec(message).map_err(PipeError::Encode)?;
    line.push(b'\n');
    Ok(line.into())
}

/// Ready when the request `id` was withdrawn; never for other messages.
async fn withdrawn(pending: &Pending, id: Option<&RequestId>) {
    let Some(id) = id else { return std::future::pending().await };
    if let Some(withdrawn) = pending.withdrawn(id) {
        let _dropped = withdrawn.await;
    }
}

impl Transport<RoleClient> for PipeTransport {
    type Error = PipeError;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), PipeError>> + Send + 'static {
        let kind = Kind::of(&message);
        if let Some(id) = request_id(&message).filter(|_| kind.opens()) {
            self.replay = self.agreed.take().map(|answer| (id.clone(), answer));
        }
        if self.replay.is_some() {
            return Either::Left(std::future::ready(Ok(())));
        }
        if kind.is_lifecycle() {
            self.recorder.phase(kind.phase());
        }
        // The server has not seen a request that is still in the queue.
        if cancelled_id(&message).is_some_and(|id| !self.pending.withdraw(id)) {
            return Either::Left(std::future::ready(Ok(())));
        }
        // Not in the future, so that messages which rmcp sends at once are in the queue together.
        if let Some(sent) = self.send_now(&message) {
            return Either::Left(std::future::ready(sent));
        }
        self.pending.queued(&message);
        let (outbox, stop, pending) =
            (self.outbox.clone(), self.stop.clone(), self.pending.clone());
        // Boxed, because rmcp makes a task of it, and most of them are the other one.
        let waiting = async move {
            let id = request_id(&message);
            let room = tokio::select! {
                biased;
                () = stop.requested() => return Err(PipeError::Closed),
                room = outbox.reserve() => room.map_err(|_| PipeError::Closed)?,
                () = withdrawn(&pending, id) => return Ok(()),
            };
            if id.is_none_or(|id| pending.written(id)) {
                room.send(line(&message)?);
            }
            Ok(())
        };
        Either::Right(Box::pin(waiting))
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        if let Some((id, answer)) = self.replay.take() {
            return Some(ServerJsonRpcMessage::response(*answer, id));
        }
        tokio::select! {
            biased;
            () = self.stop.requested() => None,
            message = self.inbox.recv() => message.map(|message| *message),
        }
    }

    async fn close(&mut self) -> Result<(), PipeError> {
        self.inbox.close();
        Ok(())
    }
}
