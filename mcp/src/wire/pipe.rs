//! stdio as rmcp sees it: two bounded channels in memory. The pipes themselves belong to the session's pumps.
//!
//! Nothing here can block on the child: `send` waits for a place in a queue and no longer than the session lives,
//! `close` returns at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerResult};
use rmcp::transport::Transport;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::{Kind, method_not_found, refuses_as_legacy, request_id};
use super::pending::Pending;
use super::recorder::Recorder;

/// The child takes, or gives, nothing any more.
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
    pub(crate) outbox: mpsc::Sender<Bytes>,
    pub(crate) inbox: mpsc::Receiver<ServerJsonRpcMessage>,
    pub(crate) stop: CancellationToken,
    pub(crate) pending: Arc<Pending>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) probe: Probe,
}

/// The era probe that is under way, and the one that was answered on the server's behalf.
#[derive(Debug)]
pub(crate) struct Probe {
    timeout: Duration,
    pending: Option<(RequestId, Instant)>,
    given_up: Option<RequestId>,
}

impl Probe {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, pending: None, given_up: None }
    }
}

impl PipeTransport {
    /// Looks at a message on its way in; `None` drops it.
    fn admit(&mut self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        let (id, understood) = match &message {
            ServerJsonRpcMessage::Response(response) => {
                (Some(&response.id), matches!(response.result, ServerResult::DiscoverResult(_)))
            }
            ServerJsonRpcMessage::Error(error) => {
                (error.id.as_ref(), !refuses_as_legacy(&error.error))
            }
            _ => return Some(message),
        };
        // The answer that was given in its place is the one that counts.
        if id.is_some() && id == self.probe.given_up.as_ref() {
            return None;
        }
        let pending = self.probe.pending.as_ref().map(|(id, _)| id);
        if pending.is_some() && (id.is_none() || id == pending) {
            let id = self.probe.pending.take().map(|(id, _)| id);
            // A server that answers an unknown method with an empty result is a legacy one as well.
            return Some(if understood { message } else { method_not_found(id) });
        }
        Some(message)
    }
}

impl Transport<RoleClient> for PipeTransport {
    type Error = PipeError;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), PipeError>> + Send + 'static {
        let kind = Kind::of(&message);
        self.recorder.phase(kind.phase());
        self.pending.sent(&message);
        if kind.is_probe() {
            self.probe.pending =
                request_id(&message).map(|id| (id.clone(), Instant::now() + self.probe.timeout));
        }
        let outbox = self.outbox.clone();
        let stop = self.stop.clone();
        async move {
            let mut line = serde_json::to_vec(&message).map_err(PipeError::Encode)?;
            line.push(b'\n');
            tokio::select! {
                biased;
                () = stop.cancelled() => Err(PipeError::Closed),
                sent = outbox.send(line.into()) => sent.map_err(|_| PipeError::Closed),
            }
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let deadline = self.probe.pending.as_ref().map(|(_, deadline)| *deadline);
            let message = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                message = self.inbox.recv() => message?,
                () = async { tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)).await },
                    if deadline.is_some() =>
                {
                    self.recorder.note(super::PROBE_IGNORED);
                    self.probe.given_up = self.probe.pending.take().map(|(id, _)| id);
                    return Some(method_not_found(self.probe.given_up.clone()));
                }
            };
            if let Some(message) = self.admit(message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), PipeError> {
        self.inbox.close();
        Ok(())
    }
}
