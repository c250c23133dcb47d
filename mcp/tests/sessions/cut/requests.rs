//! Requests that are cut: the session stands, and the server is told that nobody waits any more.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moored_mcp::{CallError, CallOptions, CompleteArgs, ComponentKind, Era, SessionGroup};
use serde_json::Map;

use super::scene::{LOG, Scene, Wire};
use super::{Polls, alone, at_each_poll, cut, eventually, everywhere};

/// A request of a user.
type Ask = for<'a> fn(&'a SessionGroup) -> BoxFuture<'a, Result<(), CallError>>;

fn call(group: &SessionGroup) -> BoxFuture<'_, Result<(), CallError>> {
    group.call_tool("s/echo", Map::new(), CallOptions::default()).map(|it| it.map(drop)).boxed()
}

fn read(group: &SessionGroup) -> BoxFuture<'_, Result<(), CallError>> {
    group.read_resource(LOG, CallOptions::default()).map(|it| it.map(drop)).boxed()
}

fn prompt(group: &SessionGroup) -> BoxFuture<'_, Result<(), CallError>> {
    let asked = group.get_prompt("s/greeting", Map::new(), CallOptions::default());
    asked.map(|it| it.map(drop)).boxed()
}

fn complete(group: &SessionGroup) -> BoxFuture<'_, Result<(), CallError>> {
    let args = CompleteArgs::new("name", "a");
    let asked = group.complete(ComponentKind::Prompt, "s/greeting", args, CallOptions::default());
    asked.map(|it| it.map(drop)).boxed()
}

fn subscribe(group: &SessionGroup) -> BoxFuture<'_, Result<(), CallError>> {
    group.subscribe(LOG).boxed()
}

#[test]
fn a_call_is_cut_anywhere_and_its_server_told() {
    alone("cut::requests::calls");
}

#[test]
#[ignore = "run by a_call_is_cut_anywhere_and_its_server_told in a process of its own"]
fn calls() {
    everywhere(async |way| anywhere(way, "tools/call", call).await);
}

#[test]
fn a_reading_is_cut_anywhere_and_its_server_told() {
    alone("cut::requests::readings");
}

#[test]
#[ignore = "run by a_reading_is_cut_anywhere_and_its_server_told in a process of its own"]
fn readings() {
    everywhere(async |way| anywhere(way, "resources/read", read).await);
}

#[test]
fn a_prompt_is_cut_anywhere_and_its_server_told() {
    alone("cut::requests::prompts");
}

#[test]
#[ignore = "run by a_prompt_is_cut_anywhere_and_its_server_told in a process of its own"]
fn prompts() {
    everywhere(async |way| anywhere(way, "prompts/get", prompt).await);
}

#[test]
fn a_completion_is_cut_anywhere_and_its_server_told() {
    alone("cut::requests::completions");
}

#[test]
#[ignore = "run by a_completion_is_cut_anywhere_and_its_server_told in a process of its own"]
fn completions() {
    everywhere(async |way| anywhere(way, "completion/complete", complete).await);
}

#[test]
fn a_subscription_is_cut_anywhere_and_the_server_has_what_the_session_says() {
    alone("cut::requests::subscriptions");
}

#[test]
#[ignore = "run by a_subscription_is_cut_anywhere_and_the_server_has_what_the_session_says in a process of its own"]
fn subscriptions() {
    everywhere(async |way| {
        let method = match way.1 {
            Era::Modern => "subscriptions/listen",
            _ => "resources/subscribe",
        };
        unanswered(way, method, subscribe).await + subscribed(way).await
    });
}

async fn anywhere(way: (Wire, Era), method: &'static str, ask: Ask) -> usize {
    unanswered(way, method, ask).await + answered(way, method, ask).await
}

/// A request of another method, which shows that the session stands.
async fn stands(group: &SessionGroup, method: &str) {
    let other = if method == "prompts/get" { read } else { prompt };
    other(group).await.expect("the session stands");
}

/// A server that never answers: each request that reached it is taken back.
async fn unanswered(way: (Wire, Era), method: &'static str, ask: Ask) -> usize {
    let scene = Scene::start(way, method).await;
    let group = scene.connected().await;
    scene.open_connections(|| stands(&group, method)).await;
    let up = scene.up().await;
    let mut cuts = 0;
    for who in [Polls::Always, Polls::Cancelled] {
        let (mut polls, mut reached) = (0, 0);
        while reached < 3 {
            let before = scene.of(method).len();
            let answer = cut(polls, who, ask(&group)).await;
            assert!(answer.is_none(), "cut at {polls} {who:?}: {answer:?}");
            cuts += 1;
            stands(&group, method).await;
            let place = format!("{method} to {way:?} cut at {polls} {who:?}");
            let taken_back =
                || scene.are_taken_back(method).then_some(()).ok_or(format!("{:?}", scene.log()));
            eventually(&place, taken_back).await;
            up.is_all(&place).await;
            reached += usize::from(scene.of(method).len() > before);
            polls = who.after(polls);
            assert!(polls < 1_000_000, "{method} never reaches {way:?}");
        }
    }
    let report = group.close().await;
    assert!(report.all_well(), "{way:?}: {report:?}");
    scene.is_left();
    cuts
}

/// A server that answers at once: no request is taken back that was answered, and none twice.
async fn answered(way: (Wire, Era), method: &'static str, ask: Ask) -> usize {
    let scene = Scene::start(way, "").await;
    let group = scene.connected().await;
    scene.open_connections(|| stands(&group, method)).await;
    let up = scene.up().await;
    let cuts = at_each_poll(async |polls, who| {
        let place = format!("{method} to {way:?} cut at {polls} {who:?}");
        let answer = cut(polls, who, ask(&group)).await;
        stands(&group, method).await;
        up.is_all(&place).await;
        if let Some(answer) = &answer {
            answer.as_ref().expect("an answer");
            // Earlier requests may still be taken back meanwhile.
            let own = scene.of(method).pop().expect("it was asked");
            assert!(!scene.of("notifications/cancelled").contains(&own), "{place}");
        }
        answer.is_none()
    })
    .await;
    let report = group.close().await;
    assert!(report.all_well(), "{way:?}: {report:?}");
    let mut cancelled = scene.of("notifications/cancelled");
    let all = cancelled.len();
    cancelled.sort();
    cancelled.dedup();
    assert_eq!(cancelled.len(), all, "{way:?}: {:?}", scene.log());
    scene.is_left();
    cuts
}

/// After any cut, the server reports changes if the session says that it is subscribed, and else it does not.
async fn subscribed(way: (Wire, Era)) -> usize {
    let scene = Scene::start(way, "").await;
    let group = scene.connected().await;
    scene.open_connections(|| stands(&group, "")).await;
    let up = scene.up().await;
    let agree = async |place: &str, wanted: Option<bool>| {
        let agree = || {
            let ours = !group.sessions()[0].subscribed.is_empty();
            let is_so = scene.has_subscription() == ours && wanted.is_none_or(|it| it == ours);
            is_so.then_some(()).ok_or_else(|| format!("{ours} here, {:?}", scene.log()))
        };
        eventually(place, agree).await;
    };
    let cuts = at_each_poll(async |polls, who| {
        let place = |what: &str| format!("{what} to {way:?} cut at {polls} {who:?}");
        let began = cut(polls, who, group.subscribe(LOG)).await;
        agree(&place("subscribed"), Some(began.is_some())).await;
        group.subscribe(LOG).await.expect("the session stands");
        agree(&place("subscribed again"), Some(true)).await;
        let ended = cut(polls, who, group.unsubscribe(LOG)).await;
        agree(&place("unsubscribed"), ended.is_some().then_some(false)).await;
        group.unsubscribe(LOG).await.expect("the session stands");
        agree(&place("unsubscribed again"), Some(false)).await;
        up.is_all(&place("afterwards")).await;
        began.is_none() || ended.is_none()
    })
    .await;
    let report = group.close().await;
    assert!(report.all_well(), "{way:?}: {report:?}");
    scene.is_left();
    cuts
}
