//! The protocol crate's own server behind an address.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A server that runs until this is dropped.
pub(crate) struct Serving {
    pub(crate) url: String,
    /// Its open sessions.
    #[allow(dead_code, reason = "not every suite counts them")]
    pub(crate) books: Arc<LocalSessionManager>,
    task: AbortHandle,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves on a port that the kernel chooses.
pub(crate) async fn serve(server: impl ServerHandler + Clone) -> Serving {
    let books = Arc::new(LocalSessionManager::default());
    let config = StreamableHttpServerConfig::default();
    let mcp = StreamableHttpService::new(move || Ok(server.clone()), books.clone(), config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("its address"));
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let mcp = mcp.clone();
            let answer = service_fn(move |request| {
                let mcp = mcp.clone();
                async move { Ok::<_, std::convert::Infallible>(mcp.handle(request).await) }
            });
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Serving { url, books, task: task.abort_handle() }
}
