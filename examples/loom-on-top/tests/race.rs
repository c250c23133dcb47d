//! The library's own models: every interleaving of the threads that use a hub, with `moored` inside. `bash ci/loom.sh`
//! runs them; without `--cfg loom` this file is empty.
#![cfg(loom)]

use loom::future::block_on;
use loom::thread;
use loom_on_top::Hub;
use moored::{CancelScope, Cause, ReasonKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Closed on this thread while another one subscribes: the subscriber is dropped, or turned away, but not forgotten; and
/// the hub returns in every case.
#[test]
fn closing_against_subscribing() {
    loom::model(|| {
        let hub = Hub::new();
        let (closer, door) = (hub.closer(), hub.door());
        let dropped = Arc::new(AtomicUsize::new(0));
        let subscriber = thread::spawn({
            let on_drop = OnDrop(Arc::clone(&dropped));
            move || door.subscribe(move |_| _ = &on_drop)
        });
        closer.cancel_because("closing time");
        let closed = block_on(hub.run());
        assert!(
            matches!(closed.cause(), Cause::Cancelled(r) if r.message() == Some("closing time"))
        );
        subscriber.join().unwrap();
        assert_eq!(dropped.load(SeqCst), 1, "a subscriber outlives its hub");
        assert_eq!(hub.send(1), 0, "a subscription outlives its subscriber");
    });
}

/// Closed while a message is sent: every subscriber that was counted gets it or was closed, and no subscriber waits
/// for ever.
#[test]
fn closing_against_sending() {
    loom::model(|| {
        let heard = Arc::new(AtomicUsize::new(0));
        let hub = Arc::new(Hub::new());
        let (closer, counts) = (hub.closer(), Arc::clone(&heard));
        assert!(hub.door().subscribe(move |message| {
            counts.fetch_add(message as usize, SeqCst);
            // From inside the hub: the subscriber that has heard enough closes it.
            closer.cancel();
        }));
        let sender = thread::spawn({
            let hub = Arc::clone(&hub);
            move || hub.send(7)
        });
        block_on(hub.run());
        assert_eq!((sender.join().unwrap(), heard.load(SeqCst)), (1, 7));
    });
}

/// A hub inside a scope of the application, which is cancelled from another thread: the hub goes with it.
#[test]
fn cancelling_the_scope_around_against_running() {
    loom::model(|| {
        let hub = Hub::new();
        assert!(hub.door().subscribe(|_| {}));
        let app = CancelScope::new();
        let handle = app.handle();
        let canceller = thread::spawn(move || handle.cancel());
        let cancelled = block_on(app.run(hub.run())).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
        assert_eq!(hub.send(1), 0);
        canceller.join().unwrap();
    });
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
