//! Cuts of the streams that announce changes of lists: of the streams that an owner keeps open at its server, and of the streams
//! of a gateway's clients.

use std::iter::successors;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moored_mcp::{CallOptions, Era, SessionGroup};
use serde_json::{Map, json};

use super::gateway::Front;
use super::scene::{Scene, Wire};
use super::{Left, Polls, alone, at_each_poll, cut, eventually, everywhere};
use crate::support::{brisk_group, until};

#[test]
fn a_connect_to_a_server_that_announces_changes_is_cut_anywhere() {
    alone("cut::lists::connects");
}

#[test]
#[ignore = "run by a_connect_to_a_server_that_announces_changes_is_cut_anywhere in a process of its own"]
fn connects() {
    everywhere(async |way| {
        let scene = Scene::announcing(way, "").await;
        let with_server = scene.up().await;
        at_each_poll(async |polls, who| {
            let place = format!("{way:?} cut at {polls} {who:?}");
            let group = brisk_group();
            let connected = cut(polls, who, group.connect(scene.params("s", way.1))).await;
            is_left(&scene, group, &place, with_server).await;
            connected.map(|it| it.expect("it comes up")).is_none()
        })
        .await
    });
}

#[test]
fn a_close_is_cut_anywhere_while_changes_are_followed() {
    alone("cut::lists::closes");
}

#[test]
#[ignore = "run by a_close_is_cut_anywhere_while_changes_are_followed in a process of its own"]
fn closes() {
    everywhere(async |way| {
        let scene = Scene::announcing(way, "").await;
        let with_server = scene.up().await;
        at_each_poll(async |polls, who| {
            let place = format!("{way:?} cut at {polls} {who:?}");
            let group = scene.connected().await;
            // Half of the closes meet the owner while it opens its stream, the others while it reads it.
            if polls.is_multiple_of(2) {
                followed(&scene).await;
            }
            let closed = cut(polls, who, group.close()).await;
            is_left(&scene, group, &place, with_server).await;
            closed.is_none()
        })
        .await
    });
}

/// The end of a session.
#[derive(Debug, Clone, Copy)]
enum End {
    Disconnected,
    Closed,
    /// The last handle of the group is dropped.
    Dropped,
}

#[test]
fn a_session_is_left_while_its_owner_waits_for_a_stream_or_a_changed_list() {
    alone("cut::lists::waits");
}

#[test]
#[ignore = "run by a_session_is_left_while_its_owner_waits_for_a_stream_or_a_changed_list in a process of its own"]
fn waits() {
    everywhere(async |way| {
        let mut cuts = 0;
        // The stream is never acknowledged, or the list is never read again.
        for held in ["subscriptions/listen", "tools/list"] {
            if held == "subscriptions/listen" && way.1 == Era::Legacy {
                continue;
            }
            for end in [End::Disconnected, End::Closed, End::Dropped] {
                let place = format!("{way:?} waiting for {held}, {end:?}");
                let scene = Scene::announcing(way, held).await;
                let with_server = scene.up().await;
                let group = scene.connected().await;
                if held == "tools/list" {
                    followed(&scene).await;
                    change(&group).await;
                    scene.heard("tools/list", 2).await;
                } else {
                    scene.heard("lists/listen", 1).await;
                }
                cuts += 1;
                match end {
                    End::Disconnected => {
                        let left = group.disconnect("s").await.expect("it was there");
                        assert!(left.leave.clean, "{place}: {left:?}");
                    }
                    End::Closed => assert!(group.close().await.all_well(), "{place}"),
                    End::Dropped => {
                        drop(group);
                        with_server.is_all(&place).await;
                        continue;
                    }
                }
                is_left(&scene, group, &place, with_server).await;
            }
        }
        cuts
    });
}

#[test]
fn clients_of_a_gateway_are_cut_anywhere_while_they_hear_of_a_change() {
    alone("cut::lists::clients");
}

#[test]
#[ignore = "run by clients_of_a_gateway_are_cut_anywhere_while_they_hear_of_a_change in a process of its own"]
fn clients() {
    everywhere(async |way| {
        let scene = Scene::announcing(way, "").await;
        let mut cuts = 0;
        for era in [Era::Legacy, Era::Modern] {
            let front = Front::start(&scene, era).await;
            let up = scene.up().await;
            for who in Polls::ALL {
                cuts += one_change(&front, who).await;
                front.stands().await;
                up.is_all(&format!("{era:?} clients of {way:?} {who:?}")).await;
            }
            front.close().await;
        }
        cuts
    });
}

/// Many clients hear of one change, each cut after another number of polls, and one that is not. Returns the number of cuts.
async fn one_change(front: &Front<'_>, who: Polls) -> usize {
    let most = if who == Polls::Woken { 12 } else { 2_000 };
    let polls: Vec<usize> =
        successors(Some(0), |polls| Some(who.after(*polls))).take_while(|it| *it <= most).collect();
    let mut fronts = Vec::new();
    for _ in 0..=polls.len() {
        fronts.push(front.another().await);
    }
    let (whole, others) = fronts.split_last().expect("clients");
    let (acknowledged, mut is_there) = tokio::sync::watch::channel(false);
    let hears = async {
        whole.hears_of_tools(|| acknowledged.send(true).expect("it is waited for")).await;
    };
    let changes = async {
        followed(front.scene()).await;
        is_there.changed().await.expect("it is acknowledged");
        front.call("s__other").await;
    };
    // Only those that were woken are polled.
    let mut cuts: FuturesUnordered<_> = std::iter::zip(others, polls)
        .map(|(front, polls)| cut(polls, who, front.hears_of_tools(|| {})))
        .collect();
    let mut count = 0;
    let ends = async {
        while let Some(heard) = cuts.next().await {
            count += usize::from(heard.is_none());
        }
    };
    tokio::join!(hears, changes, ends);
    drop(cuts);
    for front in fronts {
        front.leave().await;
    }
    assert!(count > 0, "{who:?}: nothing was cut");
    count
}

/// Changes the tools of the server.
async fn change(group: &SessionGroup) {
    let called = group.call_tool("s/other", Map::new(), CallOptions::default()).await;
    assert_eq!(called.expect("an answer")["content"], json!([]));
}

/// Waits until the server has a way to announce a change.
async fn followed(scene: &Scene) {
    until(|| scene.has_list_stream()).await;
}

/// Closes the group. Afterwards nothing is left, not even a stream at the server.
async fn is_left(scene: &Scene, group: SessionGroup, place: &str, before: Left) {
    let report = group.close().await;
    assert!(report.clean, "{place}: {report:?}");
    before.is_all(place).await;
    scene.is_left();
    // A child has ended.
    if scene.wire() == Wire::Http {
        let is_over =
            || (!scene.has_list_stream()).then_some(()).ok_or(format!("{:?}", scene.log()));
        eventually(place, is_over).await;
    }
}
