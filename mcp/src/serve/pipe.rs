//! A client at the other end of a pipe: one message a line.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use moored::CancelScope;
use rmcp::ErrorData;
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, RequestId, ServerJsonRpcMessage};
use rmcp::service::{RoleServer, serve_server_with_ct};
use rmcp::transport::Transport;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::coop::consume_budget;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::answering::Front;
use super::client::{Client, served};
use super::message::{self, Unreadable};
use super::unread::{Bounded, writer_in_time};

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
        // In a task of its own, because rmcp drops its wait for a message whenever another event comes.
        let (limit, errors, over) = (core.options.body_limit, outbox.clone(), end.clone());
        core.wire(async move {
            tokio::select! {
                () = receive(input, limit, read, errors) => {}
                () = over.cancelled() => {}
            }
        });
        // No other client has the same.
        let owner = format!("pipe {}", uuid::Uuid::new_v4());
        let front = Front { core: core.clone(), client: Client::new(end.clone(), owner).into() };
        let pipe = Pipe {
            inbox,
            outbox: Some(outbox),
            open: Arc::new(watch::channel(HashSet::new()).0),
            patience: core.options.settle,
        };
        let token = CancellationToken::new();
        let service = serve_server_with_ct(front, Bounded::new(pipe), token.clone());
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

/// Reads messages to the end of the pipe. A line that is no message is answered with an error.
async fn receive(
    input: impl AsyncRead + Unpin,
    limit: usize,
    read: mpsc::Sender<ClientJsonRpcMessage>,
    errors: mpsc::Sender<Bytes>,
) {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        // One read may bring thousands of empty lines.
        consume_budget().await;
        let is_whole = match next_line(&mut input, &mut line, limit).await {
            Ok(Some(is_whole)) => is_whole,
            Ok(None) | Err(_) => return,
        };
        let message = if !is_whole {
            let why = format!("the line has more than {limit} bytes");
            Err(Unreadable { id: None, error: ErrorData::invalid_request(why, None) })
        } else if line.trim_ascii().is_empty() {
            continue;
        } else {
            message::read(&line)
        };
        let sent = match message {
            Ok(incoming) => read.send(incoming.message).await.is_ok(),
            Err(unreadable) => errors.send(written(&unreadable.answer())).await.is_ok(),
        };
        if !sent {
            return;
        }
    }
}

/// Reads one line; `None` at the end of the pipe, and `Some(false)` for a line beyond the limit, which is dropped.
async fn next_line(
    input: &mut BufReader<impl AsyncRead + Unpin>,
    line: &mut Vec<u8>,
    limit: usize,
) -> std::io::Result<Option<bool>> {
    line.clear();
    let mut is_whole = true;
    let mut read = false;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(read.then_some(is_whole));
        }
        read = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        if is_whole && line.len() + taken > limit {
            is_whole = false;
            *line = Vec::new();
        }
        if is_whole {
            line.extend_from_slice(&chunk[..taken]);
        }
        input.consume(taken);
        if end.is_some() {
            return Ok(Some(is_whole));
        }
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
                if let ClientNotification::CancelledNotification(it) = &told.notification
                    && let Some(id) = &it.params.request_id
                {
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

    #[tokio::test]
    async fn lines_are_bounded_and_none_is_lost() {
        let text = b"short\n\nmuch too long a line\nlast";
        for size in [1, 3, 64] {
            let mut input = BufReader::with_capacity(size, &text[..]);
            let mut line = Vec::new();
            let mut read = Vec::new();
            while let Some(is_whole) = next_line(&mut input, &mut line, 10).await.expect("read") {
                read.push((is_whole, String::from_utf8(line.clone()).expect("text")));
            }
            let all = [(true, "short\n"), (true, "\n"), (false, ""), (true, "last")];
            assert_eq!(read, all.map(|(is_whole, text)| (is_whole, text.to_owned())), "{size}");
        }
    }
}
