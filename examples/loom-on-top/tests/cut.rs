//! A hub that is dropped, cancelled, or made to panic at its k-th poll, for every k: no subscriber outlives it, and no
//! subscription its subscriber.
#![cfg(not(loom))]

use loom_on_top::Hub;
use moored::testing::{cut, hand, live_regions};
use moored::{CancelScope, checkpoint, task};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const SUBSCRIBERS: usize = 2;

/// Counts its drops.
struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Runs a hub, sends three messages beside it, and closes it.
async fn run(hub: &Hub) {
    let mut running = pin!(hub.run());
    let mut sending = pin!(async {
        for message in 1..=3 {
            assert_eq!(hub.send(message), SUBSCRIBERS);
            checkpoint().await;
        }
        hub.closer().cancel();
    });
    let mut sent = false;
    poll_fn(|cx| {
        sent = sent || sending.as_mut().poll(cx).is_ready();
        running.as_mut().poll(cx).map(|closed| assert!(sent, "{closed}"))
    })
    .await;
}

/// Plays a hub for 0, 1, 2, … polls until it is over before it is cut. `way` cuts it, and tells whether it was cut.
fn everywhere(way: impl Fn(&Hub, usize) -> bool) {
    for polls in 0.. {
        let (dropped, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let hub = Hub::new();
        for _ in 0..SUBSCRIBERS {
            let (mine, on_drop) = (Arc::clone(&heard), OnDrop(Arc::clone(&dropped)));
            let counts = move |message| {
                let _ = &on_drop;
                mine.fetch_add(message as usize, SeqCst);
            };
            assert!(hub.door().subscribe(counts));
        }
        let was_cut = way(&hub, polls);
        if !was_cut {
            assert_eq!(heard.load(SeqCst), SUBSCRIBERS * (1 + 2 + 3));
        }
        if polls > 0 {
            assert_eq!(
                dropped.load(SeqCst),
                SUBSCRIBERS,
                "dropped with the hub's run, cut at {polls}"
            );
            assert_eq!(hub.send(4), 0, "a subscription is left, cut at {polls}");
            assert!(!hub.door().subscribe(|_| {}), "it still opens, cut at {polls}");
        }
        drop(hub);
        assert_eq!(dropped.load(SeqCst), SUBSCRIBERS, "dropped with the hub, cut at {polls}");
        assert_eq!(live_regions(), 0, "a region is left, cut at {polls}");
        if !was_cut {
            assert!(polls > 1, "it has no await to be cut at");
            // The form that ci/proof.py reads.
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            println!("explored hub::{name}: {polls} cuts");
            return;
        }
    }
}

#[test]
fn it_is_cut_anywhere_by_a_drop() {
    everywhere(|hub, polls| hand(task(cut(polls, run(hub)))).drive().is_none());
}

#[test]
fn it_is_cut_anywhere_by_a_cancellation() {
    everywhere(|hub, polls| {
        let scope = CancelScope::new();
        let mut running = hand(scope.run(run(hub)));
        for _ in 0..polls {
            if running.poll().is_ready() {
                return false;
            }
        }
        scope.cancel();
        running.drive().is_err()
    });
}

/// The panic payload of a cut. It is raised by `resume_unwind`, which prints no message.
struct Cut;

#[test]
fn it_is_cut_anywhere_by_a_panic() {
    everywhere(|hub, polls| {
        let mut left = polls;
        let mut running = Box::pin(run(hub));
        let panicking = poll_fn(move |cx| {
            let Some(rest) = left.checked_sub(1) else { resume_unwind(Box::new(Cut)) };
            left = rest;
            running.as_mut().poll(cx)
        });
        match catch_unwind(AssertUnwindSafe(|| hand(task(panicking)).drive())) {
            Ok(()) => false,
            Err(payload) if payload.is::<Cut>() => true,
            Err(other) => resume_unwind(other),
        }
    });
}
