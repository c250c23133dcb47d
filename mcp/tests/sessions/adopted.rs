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
