//! The tools of a fleet behind plain HTTP, with axum: a list, and a call for each.
//!
//! `cargo run -p moored-mcp --example proxy -- servers.json`, then
//! `curl http://127.0.0.1:PORT/tools` and `curl -d '{"message": "ahoy"}' http://127.0.0.1:PORT/tools/NAME`
//!
//! A client that disconnects cancels its call: axum drops the handler, and the call is cancelled at the server. Ctrl-C
//! stops accepting, lets requests under way end, and leaves the fleet.

use std::process::ExitCode;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use moored_mcp::config::Config;
use moored_mcp::{
    CallError, CallOptions, CloseReport, ComponentKind, GroupOptions, Policy, SessionGroup,
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

/// The tools that can be called now.
async fn tools(State(group): State<SessionGroup>) -> Json<Vec<Value>> {
    let tools = group.components(ComponentKind::Tool).into_iter();
    Json(tools.map(|tool| json!({"name": tool.hooked, "about": tool.raw})).collect())
}

/// One call; its result exactly as the server sent it.
async fn call(
    State(group): State<SessionGroup>,
    Path(name): Path<String>,
    Json(arguments): Json<Map<String, Value>>,
) -> Result<Json<Value>, Failed> {
    let called = group.call_tool(&name, arguments, CallOptions::default()).await;
    called.map(Json).map_err(Failed)
}

/// A call without a result.
struct Failed(CallError);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            CallError::UnknownTool(_) => StatusCode::NOT_FOUND,
            CallError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            CallError::Closing(_) | CallError::Left(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        (status, Json(json!({"error": self.0.to_string()}))).into_response()
    }
}

/// Connects the fleet in the background and serves at once, until `shutdown`; then leaves the fleet.
pub(crate) async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<CloseReport> {
    let group = SessionGroup::start(GroupOptions::default());
    let connecting = tokio::spawn({
        let group = group.clone();
        async move {
            for result in group.connect_many(config.servers, Policy::BestEffort).await {
                if let Err(error) = result {
                    eprintln!("{error}");
                }
            }
        }
    });
    let router = Router::new()
        .route("/tools", get(tools))
        .route("/tools/{name}", post(call))
        .with_state(group.clone());
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown).await;
    // This also interrupts servers that are still connecting.
    let report = group.close().await;
    let _ended = connecting.await;
    served.map(|()| report)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: proxy CONFIG");
        return ExitCode::FAILURE;
    };
    let config = match Config::load(path, |name| std::env::var(name)) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let listener = match TcpListener::bind(("127.0.0.1", 0)).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on 127.0.0.1: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Ok(at) = listener.local_addr() {
        println!("http://{at}/tools");
    }
    let shutdown = async {
        let _signal = tokio::signal::ctrl_c().await;
    };
    match run(listener, config, shutdown).await {
        Ok(report) if report.clean => ExitCode::SUCCESS,
        Ok(report) => {
            eprintln!("not everything was left cleanly: {report:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
