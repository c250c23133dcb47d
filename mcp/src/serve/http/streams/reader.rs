//! A connection that reads a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rmcp::transport::streamable_http_server::session::ServerSseMessage;

use super::stream::Stream;

/// The time after which a client should ask again for a stream whose connection broke.
const RETRY: Duration = Duration::from_secs(3);

/// The messages of a stream as events.
#[derive(Debug)]
pub(in super::super) struct Reader {
    stream: Arc<Stream>,
    number: u64,
    /// The number of the last message that was read.
    last: u64,
    /// Whether the first event is one without a message. It tells the client an id, so that the client can ask again for a
    /// stream whose connection broke before the first message.
    is_new: bool,
}

impl Reader {
    /// Reads a new stream.
    pub(super) fn first(stream: Arc<Stream>) -> Self {
        Self { is_new: true, ..Self::after(stream, 0) }
    }

    /// Reads the messages after the one with the number `last`.
    pub(super) fn after(stream: Arc<Stream>, last: u64) -> Self {
        let (number, _) = stream.take_over();
        Self { stream, number, last, is_new: false }
    }

    /// Reads the messages that no connection has read.
    pub(super) fn unread(stream: Arc<Stream>) -> Self {
        let (number, last) = stream.take_over();
        Self { stream, number, last, is_new: false }
    }

    fn id(&self) -> String {
        format!("{}/{}", self.stream.number, self.last)
    }
}

impl futures_util::Stream for Reader {
    type Item = ServerSseMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ServerSseMessage>> {
        if std::mem::take(&mut self.is_new) {
            return Poll::Ready(Some(ServerSseMessage::priming(self.id(), RETRY)));
        }
        let next = self.stream.poll_next(self.number, self.last, cx);
        next.map(|event| {
            let (number, message) = event?;
            self.last = number;
            let mut event = ServerSseMessage::default();
            (event.event_id, event.message) = (Some(self.id()), Some(message));
            Some(event)
        })
    }
}
