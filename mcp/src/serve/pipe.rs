//! A client at the other end of a pipe: one message a line.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use moored::CancelScope;
use parking_lot::Mutex;
use rmcp::ErrorData;
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, RequestId, ServerJsonRpcMessage};
use rmcp::service::{RoleServer, serve_server_with_ct};
use rmcp::transport::Transport;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::coop::consume_budget;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::answering::Front;
use super::client::{Client, served};
use super::message::{self, Unreadable};
use super::unread::{Bounded, writer_in_time};
use crate::wire::lines::{Line, Lines};
use crate::wire::message::request_id;

/// The number of messages under way in each direction. With more, the faster side waits.
const QUEUE: usize = 64;

impl Gateway {
    /// Serves one client on a pair of pipes, such as standard input and output, until the input ends or the gateway
    /// closes. All messages for the client have been written when this returns.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the client's requests and closes the pipes.
    pub async fn serve_pipe<R, W>(&self, input: R, output: W)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let core = &self.0.core;
        let scope = CancelScope::new().named("client at a pipe");
        let end = scope.handle();
        let _gone = end.clone().drop_guard();
        let (outbox, to_write) = mpsc::channel(QUEUE);
        let (read, inbox) = mpsc::channel(QUEUE);
        let output = writer_in_time(output, core.options.unread_for);
        let (its, unread) = (core.clone(), end.clone());
        let writing = core.wire(async move {
            if let Err(error) = write(output, to_write).await {
                its.writing_failed("the client at the pipe", &error, Some(&unread));
            }
        });
        let ids = Arc::<Ids>::default();
        let its_ids = ids.clone();
        // In a task of its own, because rmcp drops its wait for a message whenever another event comes.
        let (limit, errors, over) = (core.options.body_limit, outbox.clone(), end.clone());
        core.wire(async move {
            tokio::select! {
                () = receive(input, limit, its_ids, read, errors) => {}
                () = over.cancelled() => {}
            }
        });
        // No other client has the same.
        let owner = format!("pipe {}", uuid::Uuid::new_v4());
        let front = Front { core: core.clone(), client: Client::new(end.clone(), owner).into() };
        let pipe = Pipe {
            inbox,
            outbox: Some(outbox),
            ids,
            open: Arc::new(watch::channel(HashSet::new()).0),
            patience: core.options.settle,
        };
        let token = CancellationToken::new();
        let pipe = front.client.reasons.read_from(Bounded::new(pipe));
        let service = serve_server_with_ct(front, pipe, token.clone());
        let service = async {
            match service.await {
                Ok(service) => drop(service.waiting().await),
                Err(error) => tracing::debug!("the client at the pipe began nothing: {error}"),
            }
        };
        let mut served = std::pin::pin!(served(scope, token, service.boxed()));
        tokio::select! {
            () = &mut served => {}
            // The requests have ended by then.
            () = core.flushing.stop_requested() => {
                end.cancel_because("the gateway has closed");
                served.await;
            }
        }
        if let Some(writing) = writing {
            let _written_or_cut_off = writing.join().await;
        }
    }
}

/// Reads messages to the end of the pipe. A line that is no message is answered with an error, under the id of the request
/// that it would be: the client waits for an answer to that id.
async fn receive(
    input: impl AsyncRead + Unpin,
    limit: usize,
    ids: Arc<Ids>,
    read: mpsc::Sender<ClientJsonRpcMessage>,
    errors: mpsc::Sender<Bytes>,
) {
    let mut lines = Lines::up_to(limit, BufReader::new(input));
    loop {
        // One read may bring thousands of empty lines.
        consume_budget().await;
        let message = match lines.next().await {
            Ok(Line::Whole) if lines.line().trim_ascii().is_empty() => continue,
            Ok(Line::Whole) => message::read(lines.line()),
            Ok(Line::TooLong(outline)) => {
                let why = format!("the line has more than {limit} bytes");
                let error = ErrorData::invalid_request(why, None);
                Err(Unreadable::with(&outline, error))
            }
            Ok(Line::End) | Err(_) => return,
        };
        let message = message.and_then(|incoming| ids.heard(incoming.message));
        let sent = match message {
            Ok(message) => read.send(message).await.is_ok(),
            Err(unreadable) => {
                let mut failures = unreadable.failures().peekable();
                if failures.peek().is_none() {
                    errors.send(written(&unreadable.answer())).await.is_ok()
                } else {
                    // An answer has no answer.
                    pass_on(failures, &read).await
                }
            }
        };
        if !sent {
            return;
        }
    }
}

/// Hands all messages over; `false` if nobody takes them any more.
async fn pass_on(
    messages: impl Iterator<Item = ClientJsonRpcMessage>,
    read: &mpsc::Sender<ClientJsonRpcMessage>,
) -> bool {
    for message in messages {
        if read.send(message).await.is_err() {
            return false;
        }
    }
    true
}

/// The ids of the requests that have no answer.
#[derive(Debug, Default)]
struct Ids(Mutex<HashSet<RequestId>>);

impl Ids {
    /// Takes note of a message of the client.
    ///
    /// # Errors
    ///
    /// It is a request with the id of another one: of the two, one answer could not be told from the other.
    fn heard(&self, message: ClientJsonRpcMessage) -> Result<ClientJsonRpcMessage, Unreadable> {
        let is_new = match &message {
            ClientJsonRpcMessage::Request(request) => self.0.lock().insert(request.id.clone()),
            ClientJsonRpcMessage::Notification(told) => {
                if let Some(id) = taken_back(&told.notification) {
                    self.0.lock().remove(id);
                }
                true
            }
            _ => true,
        };
        if is_new {
            return Ok(message);
        }
        Err(Unreadable::new(request_id(&message).cloned(), message::id_in_use()))
    }

    /// The request is about to be answered.
    fn answered(&self, id: &RequestId) {
        self.0.lock().remove(id);
    }
}

/// The request that a notification takes back.
fn taken_back(told: &ClientNotification) -> Option<&RequestId> {
    match told {
        ClientNotification::CancelledNotification(it) => it.params.request_id.as_ref(),
        _ => None,
    }
}

/// Writes lines until all senders are dropped. An error is that of a client that reads no more. It will close its other end
/// too, or has done so, or it is ended.
async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<Bytes>,
) -> std::io::Result<()> {
    while let Some(line) = lines.recv().await {
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}

/// A message as a line.
fn written(message: &impl Serialize) -> Bytes {
    // Serialising cannot fail, because all keys are texts.
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// The pipe as rmcp sees it.
#[derive(Debug)]
struct Pipe {
    inbox: mpsc::Receiver<ClientJsonRpcMessage>,
    outbox: Option<mpsc::Sender<Bytes>>,
    ids: Arc<Ids>,
    /// The requests without an answer. A watch, because the wait for its being empty is begun anew whenever rmcp drops it,
    /// and a group is run once.
    open: Arc<watch::Sender<HashSet<RequestId>>>,
    /// The time to wait for their answers once the input has ended.
    patience: Duration,
}

/// The error of a client that does not read any more.
#[derive(Debug, thiserror::Error)]
#[error("the client no longer reads")]
struct Closed;

impl Transport<RoleServer> for Pipe {
    type Error = Closed;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Closed>> + Send + 'static {
        let line = written(&message);
        let (outbox, open) = (self.outbox.clone(), self.open.clone());
        let answered = match message {
            ServerJsonRpcMessage::Response(answer) => Some(answer.id),
            ServerJsonRpcMessage::Error(error) => error.id,
            _ => None,
        };
        // Before the client can have the answer, because it may use the id again at once.
        if let Some(id) = &answered {
            self.ids.answered(id);
        }
        async move {
            outbox.ok_or(Closed)?.send(line).await.map_err(|_| Closed)?;
            if let Some(id) = answered {
                open.send_modify(|open| _ = open.remove(&id));
            }
            Ok(())
        }
    }

    /// The next message. At the end of the input it waits for open answers first, because a client may close its output
    /// and still read.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let Some(message) = self.inbox.recv().await else {
            let mut open = self.open.subscribe();
            let answered = open.wait_for(HashSet::is_empty);
            let _ = tokio::time::timeout(self.patience, answered).await;
            return None;
        };
        match &message {
            ClientJsonRpcMessage::Request(request) => {
                self.open.send_modify(|open| _ = open.insert(request.id.clone()));
            }
            ClientJsonRpcMessage::Notification(told) => {
                if let Some(id) = taken_back(&told.notification) {
                    self.open.send_modify(|open| _ = open.remove(id));
                }
            }
            _ => {}
        }
        Some(message)
    }

    async fn close(&mut self) -> Result<(), Closed> {
        self.outbox = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that are read, and the answers to the lines that are none.
    async fn received(text: &str) -> (usize, Vec<serde_json::Value>) {
        let (read, mut messages) = mpsc::channel(9);
        let (errors, mut answers) = mpsc::channel(9);
        receive(text.as_bytes(), 200, Arc::default(), read, errors).await;
        let mut said = Vec::new();
        while let Some(line) = answers.recv().await {
            said.push(serde_json::from_slice(&line).expect("JSON"));
        }
        let mut count = 0;
        while messages.recv().await.is_some() {
            count += 1;
        }
        (count, said)
    }

    #[tokio::test]
    async fn a_line_that_is_no_message_is_answered_under_its_id() {
        let long =
            format!(r#"{{"jsonrpc":"2.0","id":3,"method":"ping","x":"{}"}}"#, "x".repeat(300));
        let text = format!(
            "\u{feff}{}\r\n\n{}\n{long}\nhello\n{}",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":{"x":"\ud83d"}}"#,
            r#"{"jsonrpc":"2.0","id":4,"method":"ping"}"#,
        );
        let (messages, answers) = received(&text).await;
        assert_eq!(messages, 2, "{answers:?}");
        let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_i64()).collect();
        assert_eq!(ids, [Some(2), Some(3), None], "{answers:?}");
    }

    #[tokio::test]
    async fn a_request_with_the_id_of_another_one_is_refused_until_that_one_is_taken_back() {
        let ping = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
        let back =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
        let (messages, answers) = received(&format!("{ping}\n{ping}\n{back}\n{ping}")).await;
        assert_eq!(messages, 3);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0]["id"], 5);
        assert!(answers[0]["error"]["message"].to_string().contains("same id"), "{answers:?}");
    }
}
