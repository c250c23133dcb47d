//! The listener: connections are accepted, served, and closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::super::unread::stream_in_time;
use super::super::{Core, Gateway};
use super::Answered;

/// The time that a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// The pause if no descriptor is left.
const EXHAUSTED: Duration = Duration::from_millis(100);

impl Gateway {
    /// Serves HTTP/1.1 on `listener` until the gateway has closed its connections. While it closes and requests are still
    /// under way, a new connection gets 503, so that `/health` can be asked.
    ///
    /// # Errors
    ///
    /// If the listener fails. A failure of one connection is no error here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops listening. Connections that were accepted go on until the gateway closes.
    pub async fn serve_http(&self, listener: TcpListener) -> io::Result<()> {
        let core = &self.0.core;
        let most = core.options.connections.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(most));
        let mut flushing = std::pin::pin!(core.flushing.stop_requested());
        let mut ended = std::pin::pin!(core.whole.cancelled());
        loop {
            let taken = async {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = &mut flushing => return Ok(()),
                () = &mut ended => return Ok(()),
                taken = taken => taken,
            };
            match accepted {
                Ok((stream, address)) => {
                    let core = core.clone();
                    self.0.core.wire(async move {
                        let _place = place;
                        core.converse(stream, address).await;
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
    /// Serves one connection until its client closes it, or until its requests have been answered after the gateway
    /// closed.
    async fn converse(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        // A request and its answer are small, so they are sent without delay.
        let _ = stream.set_nodelay(true);
        let core = self.clone();
        let answer = service_fn(move |request| {
            let core = core.clone();
            async move { Answered::Ok(core.handle(request).await) }
        });
        let stream = stream_in_time(stream, self.options.unread_for);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = moored::stop_requested() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // Another failure is not reported, because it is one of its client.
        if let Err(error) = ended {
            self.writing_failed(&format!("the client at {address}"), &error, None);
        }
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
