//! `cargo run -p moored-example-axum-server`, then `curl http://127.0.0.1:PORT/hello`; Ctrl-C ends it.
#![forbid(unsafe_code)]

use axum_server::{Pool, run};
use moored::CancelScope;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let listener = match TcpListener::bind("127.0.0.1:0").await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on 127.0.0.1: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Ok(at) = listener.local_addr() {
        println!("http://{at}/hello, http://{at}/slow");
    }
    // Ten seconds after the request to stop, the server is dropped. A request that was under way has ended by then: its
    // limit of five seconds and the grace of its exits, one second, are shorter. What may remain is a connection whose
    // client has not sent all of a request: axum has a task for each connection, which ends with the runtime. If the
    // client sends the rest shortly before, the exits of that request are reported lost.
    let scope = CancelScope::new().named("server").grace(Duration::from_secs(10));
    let handle = scope.handle();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            handle.stop();
        }
    });
    match scope.run(run(listener, Pool::new(4), Duration::from_secs(5), scope.handle())).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(cancelled) => {
            eprintln!("not everything could end in time: {cancelled}");
            ExitCode::from(2)
        }
    }
}
