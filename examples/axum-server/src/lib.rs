//! An axum server that undoes a request when its client disconnects, and whose shutdown waits for that.
//!
//! axum drops a handler's future when the client disconnects, at the await where it is parked. Here each request is a
//! [task](moored::task()) with a deadline, which a tower layer puts around it ([`RequestTask`]), and an exit gives back the
//! connection that it borrowed. When the task is dropped, its exits go to a group that runs beside the server
//! ([`on_abandon`](moored::Task::on_abandon)); the server ends when that group has ended.

#![forbid(unsafe_code)]

mod layer;

pub use layer::{InTask, RequestTask};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, serve};
use moored::{CancelHandle, ExitStack, Failure, TaskGroup, checkpoint};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// The free connections, as a database pool has them.
#[derive(Clone, Debug)]
pub struct Pool {
    free: Arc<Mutex<Vec<u32>>>,
}

impl Pool {
    /// A pool of `size` connections.
    #[must_use]
    pub fn new(size: u32) -> Self {
        Pool { free: Arc::new(Mutex::new((0..size).collect())) }
    }

    /// The number of free connections.
    pub async fn available(&self) -> usize {
        self.free.lock().await.len()
    }

    async fn take(&self) -> Option<u32> {
        self.free.lock().await.pop()
    }

    /// Resetting a connection takes a round trip: async code, which no `Drop` can do.
    async fn give_back(self, connection: u32) {
        checkpoint().await;
        self.free.lock().await.push(connection);
    }
}

/// Answers with the connection that was used. A slow page never ends by itself.
async fn page(State(pool): State<Pool>, Path(name): Path<String>) -> Result<String, StatusCode> {
    let stack = ExitStack::new().named("request").grace(Duration::from_secs(1));
    let answer: Result<String, Failure<StatusCode>> = stack
        .run(async {
            let connection = pool.take().await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
            // An exit owns the values it uses, because it may run when this body is gone.
            let back = pool.clone();
            let connection = stack.hold(connection, |connection| back.give_back(connection));
            match name.as_str() {
                "slow" => std::future::pending().await,
                name => Ok(format!("{name}, through connection {}", *connection)),
            }
        })
        .await;
    answer.map_err(|failure| match failure.into_cause() {
        moored::Cause::Body(status) => status,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

/// Serves until `shutdown`'s region is asked to stop. Ends when the last request has ended, and every exit that a
/// dropped request has left behind.
///
/// # Cancel safety
///
/// Dropping the future drops the server; the exits of requests under way go to the region around.
///
/// # Errors
///
/// Where the listener fails.
pub async fn run(
    listener: TcpListener,
    pool: Pool,
    limit: Duration,
    shutdown: CancelHandle,
) -> io::Result<()> {
    let group: TaskGroup<'static, Infallible> = TaskGroup::new().named("leftovers");
    let router = Router::new()
        .route("/{name}", get(page))
        .with_state(pool)
        .layer(RequestTask::new(limit, group.spawner()));
    let served = group
        .run(async {
            // axum polls this in a task of its own, where no region of ours is current: so it asks the handle.
            let signal = async move { shutdown.stop_requested().await };
            Ok(serve(listener, router).with_graceful_shutdown(signal).await)
        })
        .await;
    served.unwrap_or_else(|failure| Err(io::Error::other(failure)))
}
