//! The listener: connections are taken in, answered, and left.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::super::{Core, Gateway};
use super::Answered;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// How long to wait when the machine has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

impl Gateway {
    /// Serves HTTP/1.1 on `listener` until the gateway closes.
    ///
    /// # Errors
    ///
    /// Where the listener is broken. What concerns one connection alone is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops listening. Connections that were taken in go on until the gateway closes.
    pub async fn serve_http(&self, listener: TcpListener) -> io::Result<()> {
        let core = &self.0.core;
        let most = core.options.connections.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(most));
        let mut closing = std::pin::pin!(core.closing.stop_requested());
        let mut ended = std::pin::pin!(core.whole.cancelled());
        loop {
            let taken = async {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = &mut closing => return Ok(()),
                () = &mut ended => return Ok(()),
                taken = taken => taken,
            };
            match accepted {
                Ok((stream, _)) => {
                    let core = core.clone();
                    self.0.core.wire(async move {
                        let _place = place;
                        core.converse(stream).await;
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) if is_exhausted(&error) => tokio::time::sleep(EXHAUSTED).await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Core {
    /// Serves one connection, until its client closes it or what was asked on it has been answered after the gateway closed.
    async fn converse(self: Arc<Self>, stream: TcpStream) {
        // A question, and what follows it, are small.
        let _ = stream.set_nodelay(true);
        let core = self.clone();
        let answer = service_fn(move |request| {
            let core = core.clone();
            async move { Answered::Ok(core.handle(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // A connection that breaks is its client's matter.
            _ = &mut connection => return,
            () = moored::stop_requested() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn is_exhausted(error: &io::Error) -> bool {
    const OF_THE_PROCESS: i32 = 24;
    const OF_THE_SYSTEM: i32 = 23;
    matches!(error.raw_os_error(), Some(OF_THE_PROCESS | OF_THE_SYSTEM))
}
