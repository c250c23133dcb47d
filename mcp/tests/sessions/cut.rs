//! Cuts at every poll: the caller that connects or closes goes away at its k-th poll, for every k, and nothing is left
//! behind: no session at the server, no process, no second DELETE.
//!
//! There are two ways, because the futures are woken seldom and their owner works between the wake-ups: the counted
//! polls are those that a wake-up asked for, or frequent ones that ask for the next one themselves, which reach every
//! step of the owner.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use moored_mcp::SessionGroup;

use crate::support::http::{Server, legacy};
use crate::support::{at, brisk_group, exists, fleet_server, pids, within_limit};

/// The source of the next poll.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Polls {
    Woken,
    Always,
}

/// Polls `polls` times, and drops the future if it is pending then.
async fn cut<F: Future>(polls: usize, who: Polls, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        if who == Polls::Always {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// Cuts `play` after 0, 1, 2, … polls, until it ends before the cut. Self-asked polls are many, so their number grows
/// in larger steps.
async fn everywhere(play: impl AsyncFn(usize, Polls) -> bool) {
    for who in [Polls::Woken, Polls::Always] {
        let mut polls = 0;
        let mut cuts = 0;
        while play(polls, who).await {
            cuts += 1;
            polls += match who {
                Polls::Woken => 1,
                Polls::Always => 1 + polls / 4,
            };
        }
        assert!(cuts > 1, "{who:?}: it was over at once");
        // The form that ci/proof.py reads.
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        println!("explored {name}: {cuts} cuts");
    }
}

#[tokio::test]
async fn a_connect_is_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let server = Server::start(legacy).await;
        let group = brisk_group();
        let connected = cut(polls, who, group.connect(at("s", &server.url))).await;
        let report = group.close().await;
        let log = server.log();
        let begun = log.iter().any(|line| line == "POST notifications/initialized");
        assert!(report.clean, "cut at {polls} {who:?}: {report:?}");
        assert!(server.deletes() <= 1, "cut at {polls} {who:?}: {log:?}");
        assert!(!begun || server.deletes() == 1, "cut at {polls} {who:?}: {log:?}");
        match connected {
            Some(outcome) => {
                outcome.expect("it comes up");
                false
            }
            None => true,
        }
    }))
    .await;
}

#[tokio::test]
async fn a_connect_to_a_child_is_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pids");
        let flags = ["--pid-file", file.to_str().expect("its path")];
        let group = brisk_group();
        let connected = cut(polls, who, group.connect(fleet_server("child", &flags))).await;
        let report = group.close().await;
        for server in &report.servers {
            assert!(server.leave.survivors.is_empty(), "cut at {polls} {who:?}: {report:?}");
        }
        if file.exists() {
            let left: Vec<_> = pids(&file).into_iter().filter(|pid| exists(*pid)).collect();
            assert!(left.is_empty(), "cut at {polls} {who:?}: {left:?} live");
        }
        connected.is_none()
    }))
    .await;
}

#[tokio::test]
async fn a_close_is_cut_anywhere() {
    within_limit(everywhere(async |polls, who| {
        let server = Server::start(legacy).await;
        let group: SessionGroup = brisk_group();
        group.connect(at("s", &server.url)).await.expect("it comes up");
        group.connect(fleet_server("child", &[])).await.expect("it comes up");
        let closed = cut(polls, who, group.close()).await;
        let again = group.close().await;
        assert!(again.all_well(), "cut at {polls} {who:?}: {again:?}");
        assert_eq!(again.servers.len(), 2);
        assert_eq!(server.deletes(), 1, "cut at {polls} {who:?}: {:?}", server.log());
        closed.is_none()
    }))
    .await;
}
