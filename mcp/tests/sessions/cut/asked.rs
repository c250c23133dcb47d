//! Calls and sessions that are cut while a server waits for the answer of a callback: the callback ends too.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use moored_mcp::{CallError, CallOptions, Callbacks, ElicitAnswer, Era, SessionGroup};
use serde_json::{Map, Value};

use super::scene::{LOG, Scene, Wire};
use super::{Polls, alone, at_each_poll, cut, eventually, everywhere};
use crate::support::{brisk, until};

/// The callbacks that are running, and the number of all so far.
#[derive(Debug, Clone, Default)]
struct Count(Arc<(AtomicUsize, AtomicUsize)>);

impl Count {
    fn running(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn all(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// A running callback, until it is dropped.
struct Running(Count);

impl Running {
    fn begin(count: &Count) -> Self {
        count.0.0.fetch_add(1, Ordering::SeqCst);
        count.0.1.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A group whose callback answers at once, or never.
async fn connected(scene: &Scene, answers: bool) -> (SessionGroup, Count) {
    let count = Count::default();
    let of_callback = count.clone();
    let callbacks = Callbacks::new().on_elicitation(move |_| {
        let running = Running::begin(&of_callback);
        async move {
            if !answers {
                pending::<()>().await;
            }
            drop(running);
            Ok(ElicitAnswer::Accept(Map::new()))
        }
    });
    let group = SessionGroup::start(brisk().callbacks(callbacks));
    group.connect(scene.params("s", scene.era)).await.expect("it comes up");
    (group, count)
}

async fn call(group: &SessionGroup) -> Result<Value, CallError> {
    group.call_tool("s/asks", Map::new(), CallOptions::default()).await
}

#[test]
fn a_call_is_cut_anywhere_while_its_server_asks() {
    alone("cut::asked::calls");
}

#[test]
#[ignore = "run by a_call_is_cut_anywhere_while_its_server_asks in a process of its own"]
fn calls() {
    everywhere(async |way| unanswered(way).await + answered(way).await);
}

/// The callback never answers.
async fn unanswered(way: (Wire, Era)) -> usize {
    let scene = Scene::start(way, "").await;
    let (group, count) = connected(&scene, false).await;
    scene.open_connections(|| stands(&group)).await;
    let up = scene.up().await;
    let mut cuts = 0;
    for who in [Polls::Always, Polls::Cancelled] {
        let (mut polls, end) = (0, count.all() + 3);
        while count.all() < end {
            let place = format!("{way:?} cut at {polls} {who:?}");
            let answer = cut(polls, who, call(&group)).await;
            assert!(answer.is_none(), "{place}: {answer:?}");
            cuts += 1;
            stands(&group).await;
            let is_over = || {
                let running = count.running();
                (running == 0)
                    .then_some(())
                    .ok_or(format!("{running} callbacks, {:?}", scene.log()))
            };
            eventually(&place, is_over).await;
            up.is_all(&place).await;
            polls = who.after(polls);
            assert!(polls < 1_000_000, "{way:?} never asks");
        }
    }
    let report = group.close().await;
    assert!(report.all_well(), "{way:?}: {report:?}");
    scene.is_left();
    cuts
}

/// The callback answers at once.
async fn answered(way: (Wire, Era)) -> usize {
    let scene = Scene::start(way, "").await;
    let (group, count) = connected(&scene, true).await;
    scene.open_connections(|| stands(&group)).await;
    let up = scene.up().await;
    let cuts = at_each_poll(async |polls, who| {
        let place = format!("{way:?} cut at {polls} {who:?}");
        let answer = cut(polls, who, call(&group)).await;
        stands(&group).await;
        up.is_all(&place).await;
        assert_eq!(count.running(), 0, "{place}");
        if let Some(Err(error)) = &answer {
            panic!("{place}: {error}: {:?}", scene.log());
        }
        answer.is_none()
    })
    .await;
    let report = group.close().await;
    assert!(report.all_well(), "{way:?}: {report:?}");
    scene.is_left();
    cuts
}

/// The session stands.
async fn stands(group: &SessionGroup) {
    group.read_resource(LOG, CallOptions::default()).await.expect("the session stands");
}

#[test]
fn a_close_is_cut_anywhere_while_a_server_asks() {
    alone("cut::asked::closes");
}

#[test]
#[ignore = "run by a_close_is_cut_anywhere_while_a_server_asks in a process of its own"]
fn closes() {
    everywhere(async |way| {
        let scene = Scene::start(way, "").await;
        let with_server = scene.up().await;
        at_each_poll(async |polls, who| {
            let place = format!("{way:?} cut at {polls} {who:?}");
            let (group, count) = connected(&scene, false).await;
            let calling = tokio::spawn({
                let group = group.clone();
                async move { call(&group).await }
            });
            until(|| count.running() == 1).await;
            let closed = cut(polls, who, group.close()).await;
            let report = group.close().await;
            assert!(report.all_well(), "{place}: {report:?}");
            let answer = calling.await.expect("no panic");
            assert!(answer.is_err(), "{place}: {answer:?}");
            with_server.is_all(&place).await;
            assert_eq!(count.running(), 0, "{place}");
            scene.is_left();
            closed.is_none()
        })
        .await
    });
}
