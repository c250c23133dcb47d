//! Sessions that the program has opened itself: the group uses them and never closes them.

use moored_mcp::{
    Adopted, CallError, CallOptions, Delete, Outcome, ServerParams, SessionStage, TransportKind,
};
use rmcp::ServiceExt;
use rmcp::model::ProtocolVersion;
use rmcp::service::{RoleClient, RoleServer, RunningService};
use serde_json::Map;

use crate::real_server::Greeter;
use crate::support::{brisk_group, event, fleet_server, until, within_limit};

/// A session over a pipe in memory, with both of its ends.
async fn opened() -> (RunningService<RoleClient, ()>, RunningService<RoleServer, Greeter>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let greeter = Greeter { versions: ProtocolVersion::KNOWN_VERSIONS };
    let (client, server) = tokio::join!(().serve(ours), greeter.serve(theirs));
    (client.expect("a session"), server.expect("a session"))
}

#[tokio::test]
async fn an_adopted_session_is_used_like_any_other_and_outlives_the_group() {
    within_limit(async {
        let (client, server) = opened().await;
        let group = brisk_group();
        group.connect(fleet_server("own", &[])).await.expect("up");
        let info = group.adopt("guest", Adopted::new(client.peer().clone())).await.expect("up");
        assert_eq!((info.transport, info.tools), (TransportKind::Adopted, 1), "{info:?}");
        assert!(group.sessions()[1].capabilities.contains_key("tools"));
        let hello = group.call_tool("guest__greet", Map::new(), CallOptions::default()).await;
        assert_eq!(hello.expect("an answer")["content"][0]["text"], "hello");
        assert!(group.refresh("guest") && !group.refresh("nobody"));

        group.disconnect("guest").await.expect("it was up");
        let gone = group.call_tool("guest__greet", Map::new(), CallOptions::default()).await;
        assert!(matches!(gone, Err(CallError::Left(_))), "{gone:?}");
        // Another adoption of the same session, and the end of the group.
        group.adopt("again", Adopted::new(client.peer().clone())).await.expect("up");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers[2].leave.delete, Delete::NotApplicable);
        let tools = client.peer().list_all_tools().await.expect("the session is open");
        assert_eq!(tools.len(), 1);
        client.cancel().await.expect("no panic");
        server.waiting().await.expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn an_adopted_session_that_ends_is_lost_and_its_calls_fail() {
    within_limit(async {
        let (client, server) = opened().await;
        let group = brisk_group();
        let mut events = group.events();
        group.adopt("guest", Adopted::new(client.peer().clone())).await.expect("up");
        server.cancel().await.expect("no panic");
        client.waiting().await.expect("no panic");
        event(&mut events, |kind| matches!(kind, moored_mcp::EventKind::Lost { .. }).then_some(()))
            .await;
        until(|| group.sessions()[0].stage == SessionStage::Left).await;
        let gone = group.call_tool("guest__greet", Map::new(), CallOptions::default()).await;
        assert!(matches!(gone, Err(CallError::ServerGone { .. })), "{gone:?}");
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_closed_session_is_not_adopted() {
    within_limit(async {
        let (client, _server) = opened().await;
        let peer = client.peer().clone();
        client.cancel().await.expect("no panic");
        let group = brisk_group();
        let params = ServerParams::adopted("guest", Adopted::new(peer));
        let error = group.connect(params).await.expect_err("it is closed");
        assert_eq!(error.outcome(), Outcome::Unreachable);
        assert!(group.close().await.clean);
    })
    .await;
}

/// A server at the other end of a pipe, and our end.
async fn at_a_pipe() -> (tokio::io::DuplexStream, tokio::task::JoinHandle<()>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let greeter = Greeter { versions: ProtocolVersion::KNOWN_VERSIONS };
    let serving = tokio::spawn(async move {
        let server = greeter.serve(theirs).await.expect("a session");
        server.waiting().await.expect("no panic");
    });
    (ours, serving)
}

#[tokio::test]
async fn a_bare_pipe_gets_a_handshake_and_comes_back_open() {
    within_limit(async {
        let (ours, serving) = at_a_pipe().await;
        let (input, output) = tokio::io::split(ours);
        let (adopted, returned) = Adopted::pipe(input, output);
        let group = brisk_group();
        let info = group.adopt("guest", adopted.clone()).await.expect("up");
        assert_eq!((info.transport, info.tools), (TransportKind::Adopted, 1), "{info:?}");
        assert!(!group.sessions()[0].introduction.is_empty(), "its messages are ours");
        let hello = group.call_tool("guest__greet", Map::new(), CallOptions::default()).await;
        assert_eq!(hello.expect("an answer")["content"][0]["text"], "hello");
        let again = group.adopt("twice", adopted).await.expect_err("it is in use");
        assert!(again.to_string().contains("adopted before"), "{again}");
        let left = group.disconnect("guest").await.expect("it was up");
        assert!(left.leave.clean && left.leave.ms < 1_000, "{left:?}");
        let (input, output) = returned.await.expect("both ends");
        assert!(!serving.is_finished(), "to the server nothing has happened");
        assert!(group.close().await.clean);
        drop((input, output));
        serving.await.expect("the server saw the end of its input, and only now");
    })
    .await;
}

#[tokio::test]
async fn a_bare_transport_of_rmcp_gets_a_handshake_and_comes_back_open() {
    use rmcp::transport::IntoTransport;
    within_limit(async {
        let (ours, serving) = at_a_pipe().await;
        let transport = IntoTransport::<RoleClient, _, _>::into_transport(tokio::io::split(ours));
        let (adopted, returned) = Adopted::transport(transport);
        let group = brisk_group();
        let info = group.adopt("guest", adopted).await.expect("up");
        assert_eq!((info.transport, info.tools), (TransportKind::Adopted, 1), "{info:?}");
        let hello = group.call_tool("guest__greet", Map::new(), CallOptions::default()).await;
        assert_eq!(hello.expect("an answer")["content"][0]["text"], "hello");
        assert!(group.close().await.all_well());
        let transport = returned.await.expect("the transport");
        assert!(!serving.is_finished(), "its `close` was not called");
        drop(transport);
        serving.await.expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn a_bare_pipe_comes_back_from_a_handshake_that_fails_and_from_a_name_that_is_taken() {
    within_limit(async {
        let group = brisk_group();
        group.connect(fleet_server("guest", &[])).await.expect("up");
        let (ours, theirs) = tokio::io::duplex(1_024);
        let (input, output) = tokio::io::split(ours);
        let (adopted, returned) = Adopted::pipe(input, output);
        let error = group.adopt("guest", adopted).await.expect_err("the name is taken");
        assert_eq!(error.outcome(), Outcome::DuplicateName);
        drop(error);
        group.disconnect("guest").await;
        // The rejected attempt is kept for the report, and with it its parameters.
        drop(group);
        let (input, output) = returned.await.expect("both ends");

        let group = brisk_group();
        let (adopted, returned) = Adopted::pipe(input, output);
        drop(theirs);
        let error = group.adopt("guest", adopted).await.expect_err("the server is gone");
        assert_eq!(error.outcome(), Outcome::ProtocolError, "{error}");
        returned.await.expect("both ends");
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_bare_pipe_that_ends_is_lost_and_its_calls_fail() {
    within_limit(async {
        let (ours, serving) = at_a_pipe().await;
        let (input, output) = tokio::io::split(ours);
        let (adopted, returned) = Adopted::pipe(input, output);
        let group = brisk_group();
        let mut events = group.events();
        group.adopt("guest", adopted).await.expect("up");
        serving.abort();
        event(&mut events, |kind| matches!(kind, moored_mcp::EventKind::Lost { .. }).then_some(()))
            .await;
        until(|| group.sessions()[0].stage == SessionStage::Left).await;
        let gone = group.call_tool("guest__greet", Map::new(), CallOptions::default()).await;
        assert!(matches!(gone, Err(CallError::ServerGone { .. })), "{gone:?}");
        returned.await.expect("both ends");
        assert!(group.close().await.clean);
    })
    .await;
}
