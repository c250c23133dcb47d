//! A streamable HTTP server in this process: the fleet's handler behind `rmcp`'s service, and a count of its connections.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::handler::{Eras, FleetHandler};

/// Connections that servers of this process have accepted.
static ACCEPTED: AtomicUsize = AtomicUsize::new(0);

/// The number of connections accepted so far.
pub(crate) fn accepted() -> usize {
    ACCEPTED.load(Ordering::Relaxed)
}

/// A running server. It stops when this value is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Mcp = StreamableHttpService<FleetHandler, LocalSessionManager>;

impl Server {
    /// Listens on 127.0.0.1, on a port that the kernel chooses.
    pub(crate) async fn start(name: String) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        // The era that has sessions: the newer one has no DELETE, and so no leaving to measure.
        let handler = FleetHandler::new(name, Eras::Legacy);
        let mcp = StreamableHttpService::new(
            move || Ok(handler.clone()),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default(),
        );
        let accepting = tokio::spawn(accept(listener, mcp)).abort_handle();
        Ok(Self { address, accepting })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

async fn accept(listener: TcpListener, mcp: Mcp) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                ACCEPTED.fetch_add(1, Ordering::Relaxed);
                let _ = stream.set_nodelay(true);
                let mcp = mcp.clone();
                let serve = service_fn(move |request| answer(mcp.clone(), request));
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The era probe is answered with 400, as servers of the older era answer it. The answer of `rmcp`'s own server to a
/// revision that it does not speak is one that stock `rmcp`'s client does not take for that of an older server.
async fn answer(
    mcp: Mcp,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    if request.headers().get("mcp-method").is_some_and(|method| method == "server/discover") {
        let mut refusal = Response::new(Empty::new().boxed());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refusal);
    }
    Ok(mcp.handle(request).await)
}
