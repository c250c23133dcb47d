//! The beginnings and the ends of sessions that are cut.

use std::time::Duration;

use moored_mcp::{Adopted, Era, HttpParams, SessionGroup, StdioParams, Transport};
use rmcp::RoleClient;
use rmcp::model::{ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, RunningService, serve_client_with_lifecycle};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use tokio::sync::watch;

use super::scene::{Scene, Wire};
use super::{Left, Polls, alone, at_each_poll, cut, everywhere};
use crate::support::http::{Reply, Server, legacy};
use crate::support::{at, brisk_group, echo, until, within_limit};

/// The time that a drain waits for calls.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_connect_is_cut_anywhere() {
    alone("cut::life::connects");
}

#[test]
#[ignore = "run by a_connect_is_cut_anywhere in a process of its own"]
fn connects() {
    everywhere(async |way| {
        let mut cuts = 0;
        // Probed, and not.
        for era in [Era::Auto, way.1] {
            let none = Left::now();
            let scene = Scene::start(way, "").await;
            let with_server = scene.up().await;
            cuts += at_each_poll(async |polls, who| {
                let place = format!("{way:?} as {era:?} cut at {polls} {who:?}");
                let group = brisk_group();
                let connected = cut(polls, who, group.connect(scene.params("s", era))).await;
                let report = group.close().await;
                assert!(report.clean, "{place}: {report:?}");
                with_server.is_all(&place).await;
                scene.is_left();
                connected.map(|it| it.expect("it comes up")).is_none()
            })
            .await;
            drop(scene);
            none.is_all("without a server").await;
        }
        cuts
    });
}

#[test]
fn a_connect_is_cut_while_any_answer_is_awaited() {
    alone("cut::life::waiting_connects");
}

/// The end of an attempt that waits.
#[derive(Debug, Clone, Copy)]
enum End {
    Dropped,
    Disconnected,
    Closed,
}

#[test]
#[ignore = "run by a_connect_is_cut_while_any_answer_is_awaited in a process of its own"]
fn waiting_connects() {
    everywhere(async |way| {
        let mut cuts = 0;
        let held: &[&str] = match way.1 {
            Era::Modern => &["server/discover", "tools/list", "resources/templates/list"],
            _ => &["server/discover", "initialize", "notifications/initialized", "prompts/list"],
        };
        for held in held {
            let scene = Scene::start(way, held).await;
            let with_server = scene.up().await;
            for end in [End::Dropped, End::Disconnected, End::Closed] {
                // Nothing waits for a notification over a pipe.
                if way.0 == Wire::Stdio && held.starts_with("notifications") {
                    continue;
                }
                let place = format!("{way:?} waiting for {held}, {end:?}");
                let era = if *held == "server/discover" { Era::Auto } else { way.1 };
                let group = brisk_group();
                let asked = scene.of(held).len() + 1;
                let mut connecting = Box::pin(group.connect(scene.params("s", era)));
                tokio::select! {
                    up = &mut connecting => panic!("{place}: {up:?}"),
                    () = scene.heard(held, asked) => {}
                }
                match end {
                    End::Dropped => drop(connecting),
                    End::Disconnected => {
                        let (left, failed) = tokio::join!(group.disconnect("s"), connecting);
                        assert!(left.is_some() && failed.is_err(), "{place}: {left:?}");
                    }
                    End::Closed => {
                        let (closed, failed) = tokio::join!(group.close(), connecting);
                        assert!(closed.clean && failed.is_err(), "{place}: {closed:?}");
                    }
                }
                let report = group.close().await;
                assert!(report.clean, "{place}: {report:?}");
                with_server.is_all(&place).await;
                scene.is_left();
                // The protocol forbids it.
                let initialize = scene.of("initialize");
                let cancelled = scene.of("notifications/cancelled");
                assert!(!cancelled.iter().any(|id| initialize.contains(id)), "{:?}", scene.log());
                cuts += 1;
            }
        }
        cuts
    });
}

#[test]
fn a_disconnect_is_cut_anywhere() {
    alone("cut::life::disconnects");
}

#[test]
#[ignore = "run by a_disconnect_is_cut_anywhere in a process of its own"]
fn disconnects() {
    everywhere(async |way| {
        let scene = Scene::start(way, "").await;
        let with_server = scene.up().await;
        at_each_poll(async |polls, who| {
            let place = format!("{way:?} cut at {polls} {who:?}");
            let group = scene.connected().await;
            group.connect(scene.params("sibling", scene.era)).await.expect("it comes up");
            let left = cut(polls, who, group.disconnect("s")).await;
            // Another call waits for the same end, or finds that there is nothing to wait for.
            if let Some(report) = group.disconnect("s").await {
                assert!(report.leave.clean, "{place}: {report:?}");
            }
            echo(&group, "sibling").await.expect("its sibling stands");
            let report = group.close().await;
            assert!(report.all_well(), "{place}: {report:?}");
            with_server.is_all(&place).await;
            scene.is_left();
            left.is_none()
        })
        .await
    });
}

#[test]
fn a_close_is_cut_anywhere() {
    alone("cut::life::closes");
}

#[test]
#[ignore = "run by a_close_is_cut_anywhere in a process of its own"]
fn closes() {
    everywhere(async |way| ends(way, async |group| drop(group.close().await)).await);
}

#[test]
fn a_drain_is_cut_anywhere() {
    alone("cut::life::drains");
}

#[test]
#[ignore = "run by a_drain_is_cut_anywhere in a process of its own"]
fn drains() {
    everywhere(async |way| ends(way, async |group| drop(group.drain(LONG).await)).await);
}

/// Cuts the end of a group, and closes it.
async fn ends(way: (Wire, Era), end: impl AsyncFn(&SessionGroup)) -> usize {
    let scene = Scene::start(way, "").await;
    let with_server = scene.up().await;
    at_each_poll(async |polls, who| {
        let place = format!("{way:?} cut at {polls} {who:?}");
        let group = scene.connected().await;
        let ended = cut(polls, who, end(&group)).await;
        let report = group.close().await;
        assert!(report.all_well(), "{place}: {report:?}");
        with_server.is_all(&place).await;
        scene.is_left();
        ended.is_none()
    })
    .await
}

#[tokio::test]
async fn a_drain_is_cut_anywhere_and_each_call_resolves_once() {
    let cuts = at_each_poll(async |polls, who| {
        within_limit(async {
            let (open, gate) = watch::channel(false);
            let server = Server::start(move |request| match request.rpc.as_str() {
                "tools/call" => Reply::Gated(gate.clone(), Box::new(legacy(request))),
                _ => legacy(request),
            })
            .await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("it comes up");
            let call = tokio::spawn({
                let group = group.clone();
                async move { echo(&group, "s").await }
            });
            until(|| !server.requested("tools/call").is_empty()).await;
            // While the call is under way nothing wakes the future, so there it is polled once at the most, or asks for
            // polls itself.
            let first = match who {
                Polls::Woken => polls.min(1),
                Polls::Always | Polls::Cancelled => polls / 2,
            };
            let half = cut(first, who, group.drain(LONG)).await;
            assert!(half.is_none(), "it waits for the call");
            open.send(true).expect("the server waits");
            let drained = cut(polls - first, who, group.drain(LONG)).await;
            let report = group.drain(LONG).await;
            assert!(report.all_well(), "cut at {polls} {who:?}: {report:?}");
            call.await.expect("no panic").expect("an answer");
            assert_eq!(server.deletes(), 1, "cut at {polls} {who:?}: {:?}", server.log());
            drained.is_none()
        })
        .await
    })
    .await;
    println!("explored a_drain_is_cut_anywhere_and_each_call_resolves_once: {cuts} cuts");
}

#[test]
fn an_adoption_is_cut_anywhere_and_the_session_stands() {
    alone("cut::life::adoptions");
}

#[test]
#[ignore = "run by an_adoption_is_cut_anywhere_and_the_session_stands in a process of its own"]
fn adoptions() {
    everywhere(async |way| {
        let scene = Scene::start(way, "").await;
        let client = opened(&scene).await;
        // Its connections are kept for further requests.
        let group = brisk_group();
        group.adopt("guest", Adopted::new(client.peer().clone())).await.expect("it is taken up");
        assert!(group.close().await.clean);
        client.list_all_tools().await.expect("the session stands");
        let up = scene.up().await;
        let cuts = at_each_poll(async |polls, who| {
            let place = format!("{way:?} cut at {polls} {who:?}");
            let group = brisk_group();
            let adopted = Adopted::new(client.peer().clone());
            let taken = cut(polls, who, group.adopt("guest", adopted)).await;
            let report = group.close().await;
            assert!(report.clean, "{place}: {report:?}");
            client.list_all_tools().await.expect("the session stands");
            // Over HTTP rmcp keeps the streams of requests that were dropped until its session ends.
            if way.0 == Wire::Stdio {
                up.is_all(&place).await;
            }
            assert_eq!(scene.of("DELETE"), Vec::<String>::new());
            taken.map(|it| it.expect("it is taken up")).is_none()
        })
        .await;
        client.cancel().await.expect("no panic");
        scene.is_left();
        cuts
    });
}

/// A session that the program has opened itself.
async fn opened(scene: &Scene) -> RunningService<RoleClient, ClientConfig> {
    let this = ClientConfig::new(Default::default(), Implementation::new("opened", "1"));
    let mode = match scene.era {
        Era::Modern => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        },
        _ => ClientLifecycleMode::Initialize,
    };
    let session = match scene.params("guest", scene.era).transport {
        Transport::Http(HttpParams { url, .. }) => {
            let config = StreamableHttpClientTransportConfig::with_uri(url);
            let transport = StreamableHttpClientTransport::from_config(config);
            serve_client_with_lifecycle(this, transport, mode).await
        }
        Transport::Stdio(StdioParams { command, args, env, .. }) => {
            let mut command = tokio::process::Command::new(command);
            command.args(args).envs(env);
            let transport = TokioChildProcess::new(command).expect("it starts");
            serve_client_with_lifecycle(this, transport, mode).await
        }
        Transport::Adopted(_) => unreachable!("a scene has a server of its own"),
    };
    session.expect("a session")
}
