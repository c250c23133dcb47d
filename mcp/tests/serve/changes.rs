//! Servers that come and go while clients are connected.

use futures_util::FutureExt;
use moored_mcp::{Gateway, Outcome, ServerState, SessionGroup};
use serde_json::json;

use crate::clients::{eras, over_a_pipe, over_http};
use crate::support::{Raw, Served, brisk, come_true, fleet_server, options, shell, within_limit};

/// A server that exits at once until the file `flag` exists.
fn when(flag: &std::path::Path) -> moored_mcp::ServerParams {
    let binary = env!("CARGO_BIN_EXE_moored-mcp");
    shell("late", &format!("[ -e {} ] || exit 3; exec {binary} fleet-server", flag.display()))
}

#[tokio::test]
async fn the_tools_of_a_dead_server_come_when_it_comes_and_clients_are_told() {
    within_limit(async {
        for era in eras() {
            for pipe in [false, true] {
                let dir = tempfile::tempdir().expect("a directory");
                let flag = dir.path().join("flag");
                let served = Served::start(vec![fleet_server("a", &[]), when(&flag)]).await;
                let (client, noting) = match pipe {
                    true => over_a_pipe(&served.gateway, era.clone()).await,
                    false => over_http(&served, era.clone()).await,
                };
                assert_eq!(client.list_all_tools().await.expect("a list").len(), 3);
                let listening = client.peer().clone();
                let modern = matches!(era, rmcp::service::ClientLifecycleMode::Discover { .. });
                let mut subscription = None;
                if modern {
                    let filter =
                        rmcp::model::SubscriptionFilter::builder().tools_list_changed().build();
                    subscription = Some(listening.listen(filter).await.expect("a subscription"));
                }
                std::fs::write(&flag, "").expect("written");
                match &mut subscription {
                    Some(subscription) => drop(subscription.next().await.expect("told")),
                    None => noting.changes.notified().await,
                }
                come_true(async || {
                    client.list_all_tools().await.is_ok_and(|tools| tools.len() == 6)
                })
                .await;
                drop(subscription);
                client.cancel().await.expect("left");
                assert!(served.gateway.close().await.clean);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_dies_is_told_of_and_connected_again() {
    within_limit(async {
        let dies = fleet_server("s", &["--exit-code", "7", "--exit-at", "call"]);
        let served = Served::start(vec![dies]).await;
        let call =
            || Raw::modern("tools/call", json!({"name": "s__echo", "arguments": {"message": "m"}}));
        let died = served.ask(call()).await.message();
        let text = died["result"]["content"][0]["text"].as_str().expect("a text");
        assert!(text.contains("status 7"), "{died}");
        come_true(async || {
            let list = served.ask(Raw::modern("tools/list", json!({}))).await.message();
            list["result"]["tools"].as_array().is_some_and(|tools| tools.len() == 3)
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_client_is_not_told_of_a_change_that_is_in_the_list_it_has_got() {
    within_limit(async {
        for era in eras() {
            let group = SessionGroup::start(brisk());
            let gateway = Gateway::start(group.clone(), options());
            let (client, noting) = over_a_pipe(&gateway, era.clone()).await;
            let mut subscription = None;
            if matches!(era, rmcp::service::ClientLifecycleMode::Discover { .. }) {
                let filter =
                    rmcp::model::SubscriptionFilter::builder().tools_list_changed().build();
                subscription = Some(client.listen(filter).await.expect("a subscription"));
            }
            group.connect(fleet_server("a", &[])).await.expect("it comes up");
            // From here on only the test moves the clock, so the list comes before the changes are announced.
            tokio::time::pause();
            assert_eq!(client.list_all_tools().await.expect("a list").len(), 3);
            tokio::time::advance(std::time::Duration::from_millis(200)).await;
            client.list_all_tools().await.expect("a list");
            match &mut subscription {
                Some(subscription) => assert!(subscription.next().now_or_never().is_none()),
                None => assert!(noting.changes.notified().now_or_never().is_none()),
            }
            tokio::time::resume();
            group.disconnect("a").await.expect("it was up");
            match &mut subscription {
                Some(subscription) => drop(subscription.next().await.expect("told")),
                None => noting.changes.notified().await,
            }
            assert!(gateway.close().await.clean);
        }
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_is_rejected_for_its_name_is_not_the_end_of_the_server_that_has_it() {
    within_limit(async {
        let twice = vec![fleet_server("a", &[]), fleet_server("a", &[])];
        let served = Served::start(twice).await;
        served.gateway.settled().await;
        let error = served.gateway.group().connect(fleet_server("a", &[])).await;
        assert_eq!(error.expect_err("the name is taken").outcome(), Outcome::DuplicateName);
        let list = served.ask(Raw::modern("tools/list", json!({}))).await.message();
        assert_eq!(list["result"]["tools"].as_array().map(Vec::len), Some(3), "{list}");
        let servers = served.gateway.servers();
        assert!(matches!(&servers[..], [(_, ServerState::Up)]), "{servers:?}");
        assert!(served.gateway.close().await.clean);
    })
    .await;
}
