//! Clients that do not read: the messages that wait for them are bounded, and so is the time.
//!
//! rmcp sends each message in a task of its own, and reads requests meanwhile, so a transport that waits for its client bounds
//! nothing. [`Bounded`] counts the messages that wait. Whether a client reads at all is seen at its socket or pipe: a write
//! that makes no progress for [`unread_for`](super::GatewayOptions::unread_for) fails, and the client is dropped.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use moored::CancelHandle;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleServer;
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_io_timeout::{TimeoutStream, TimeoutWriter};

use super::Core;
use crate::duration::show_duration;

/// With more messages that wait for a client, no further request of that client is read.
const PAUSED: usize = 256;
/// With more, notifications are left out: they are the least that a client can miss. Answers are still sent, and there are
/// at most as many as requests under way.
const MOST: usize = 1024;

/// A transport with a bound on the messages that wait for the client.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    transport: T,
    /// A watch, because the wait for room is begun anew whenever rmcp drops it.
    waiting: Arc<watch::Sender<usize>>,
}

impl<T> Bounded<T> {
    pub(super) fn new(transport: T) -> Self {
        Self { transport, waiting: Arc::new(watch::channel(0).0) }
    }
}

/// A message that waits, until it is dropped.
struct Waiting(Arc<watch::Sender<usize>>);

impl Waiting {
    fn begin(waiting: &Arc<watch::Sender<usize>>) -> Self {
        waiting.send_modify(|count| *count += 1);
        Self(waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Bounded<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        let is_told = matches!(message, ServerJsonRpcMessage::Notification(_));
        if is_told && *self.waiting.borrow() >= MOST {
            return Either::Left(std::future::ready(Ok(())));
        }
        let waiting = Waiting::begin(&self.waiting);
        let sending = self.transport.send(message);
        Either::Right(async move {
            let sent = sending.await;
            drop(waiting);
            sent
        })
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let mut waiting = self.waiting.subscribe();
        // It never fails, because the sender is in `self`.
        _ = waiting.wait_for(|count| *count < PAUSED).await;
        self.transport.receive().await
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        self.transport.close().await
    }
}

/// A stream whose writes fail if they make no progress within `limit`.
pub(super) fn stream_in_time<S: AsyncRead + AsyncWrite>(
    stream: S,
    limit: Duration,
) -> Pin<Box<TimeoutStream<S>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limit));
    Box::pin(stream)
}

/// A writer whose writes fail if they make no progress within `limit`.
pub(super) fn writer_in_time<W: AsyncWrite>(
    writer: W,
    limit: Duration,
) -> Pin<Box<TimeoutWriter<W>>> {
    let mut writer = TimeoutWriter::new(writer);
    writer.set_timeout(Some(limit));
    Box::pin(writer)
}

impl Core {
    /// The writing to a client has failed. If that is because the client does not read, the log gets a line, and the client
    /// is ended.
    pub(super) fn writing_failed(
        &self,
        client: &str,
        error: &(dyn Error + 'static),
        end: Option<&CancelHandle>,
    ) {
        if !is_late(error) {
            return;
        }
        let limit = show_duration(self.options.unread_for);
        let line = format!("{client} was dropped: it has read nothing for {limit}");
        tracing::warn!("{line}");
        if let Some(end) = end {
            end.cancel_because("the client does not read");
        }
        self.options.dropped(&line);
    }
}

/// Whether a write has made no progress within its time.
fn is_late(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::TimedOut;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rmcp::model::{RequestId, ServerNotification, ServerResult, ToolListChangedNotification};
    use std::convert::Infallible;

    use super::*;

    /// A client that reads nothing, and sends requests without end.
    struct Deaf;

    impl Transport<RoleServer> for Deaf {
        type Error = Infallible;

        fn send(
            &mut self,
            _: ServerJsonRpcMessage,
        ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
            std::future::pending()
        }

        async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
            None
        }

        async fn close(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    #[test]
    fn a_client_that_reads_nothing_gets_no_more_notifications_and_is_not_read() {
        let mut transport = Bounded::new(Deaf);
        let told = || {
            let told = ToolListChangedNotification::default();
            ServerJsonRpcMessage::notification(ServerNotification::from(told))
        };
        let mut waiting: Vec<_> = (1..PAUSED).map(|_| transport.send(told()).boxed()).collect();
        assert!(transport.receive().now_or_never().is_some(), "there is room");
        waiting.push(transport.send(told()).boxed());
        assert!(transport.receive().now_or_never().is_none(), "its next request is not read");
        waiting.extend((PAUSED..MOST).map(|_| transport.send(told()).boxed()));
        assert!(transport.send(told()).now_or_never().is_some(), "it is left out");
        let answer = ServerJsonRpcMessage::response(ServerResult::empty(()), RequestId::Number(1));
        let mut answer = transport.send(answer).boxed();
        assert!((&mut answer).now_or_never().is_none(), "an answer is not");
        drop((waiting, answer));
        assert!(transport.receive().now_or_never().is_some(), "there is room again");
    }
}
