//! A streamable HTTP server in this process, on a loopback port that the kernel chooses.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use moored::rt::tokio::Tokio;
use moored::{CancelHandle, TaskGroup};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::handler::FleetHandler;

/// The server's reaction to the DELETE that ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDelete {
    /// Ends the session and answers.
    Answer,
    /// Reads the request and never answers.
    Hang,
}

/// A running server.
///
/// # On drop
///
/// Stops listening, drops every connection and ends every session.
#[derive(Debug)]
pub(crate) struct HttpServer {
    address: SocketAddr,
    connections: CancelHandle,
    /// rmcp's service takes a token for the end of its sessions.
    sessions: CancellationToken,
}

impl HttpServer {
    /// Starts to listen on 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub(crate) async fn start(handler: FleetHandler, on_delete: OnDelete) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let sessions = CancellationToken::new();
        let service = StreamableHttpService::new(
            move || Ok(handler.clone()),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default().with_cancellation_token(sessions.clone()),
        );
        let group = Connections::new().named("connections").keep_going();
        let connections = group.handle();
        tokio::spawn(accept(group, listener, service, on_delete));
        Ok(Self { address, connections, sessions })
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.sessions.cancel();
        self.connections.cancel();
    }
}

type Mcp = StreamableHttpService<FleetHandler, LocalSessionManager>;

type Connections = TaskGroup<'static, Infallible>;

/// Serves connections, each a child of `group`, until the group is cancelled.
async fn accept(group: Connections, listener: TcpListener, mcp: Mcp, on_delete: OnDelete) {
    let _cancelled = group.run(accept_all(&group, listener, mcp, on_delete)).await;
}

async fn accept_all(
    group: &Connections,
    listener: TcpListener,
    mcp: Mcp,
    on_delete: OnDelete,
) -> Result<Infallible, Infallible> {
    loop {
        // An error here is that of one connection, which its client sees too.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let mcp = mcp.clone();
        let serve = service_fn(move |request| answer(mcp.clone(), request, on_delete));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), serve);
        group.spawn_on(&Tokio::current(), async {
            // Its client sees how it ends.
            let _ended = connection.await;
            Ok(())
        });
    }
}

async fn answer(
    mcp: Mcp,
    request: Request<Incoming>,
    on_delete: OnDelete,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible> + Send + 'static>, Infallible> {
    if request.method() == Method::DELETE && on_delete == OnDelete::Hang {
        pending::<()>().await;
    }
    Ok(mcp.handle(request).await)
}
