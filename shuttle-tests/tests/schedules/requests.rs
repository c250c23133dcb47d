//! Requests from many threads at once, to regions that are nested, entered, left and handed over meanwhile.

use crate::book::Book;
use crate::support::{Threads, block_on, dawdle, explore};
use moored::{CancelScope, ReasonKind, TaskGroup, cancelled, shield, task};
use shuttle::thread;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Every waiter at a region that is being cancelled, or inside it, is woken: three nested scopes, a waiter at each, and
/// the outermost one cancelled at any time after it was entered.
#[test]
fn r07_whoever_waits_is_told() {
    explore(|| {
        let scopes = [CancelScope::new(), CancelScope::new(), CancelScope::new()];
        let handles = scopes.each_ref().map(CancelScope::handle);
        let [outer, ..] = &handles;
        let outer = outer.clone();
        let mut threads: Vec<_> =
            handles.map(|handle| thread::spawn(move || block_on(handle.cancelled()))).into();
        let cancelled = block_on(scopes[0].run(async {
            let inside = scopes[1].run(scopes[2].run(async {
                // Once everything is entered: a region that was never inside is not cancelled.
                threads.push(thread::spawn(move || outer.cancel_because("asked")));
                cancelled().await;
                pending::<()>().await;
            }));
            inside.await
        }))
        .unwrap_err();
        assert_eq!(cancelled.reason().message(), Some("asked"));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A group in a group on threads, some of whose members are shielded: a shielded future comes to its end, and the
/// others are dropped when the outermost group is cancelled.
#[test]
fn r12_what_is_shielded_comes_to_its_end() {
    explore(|| {
        let (book, threads) = (Book::open(), Threads::new());
        let (began, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        for _ in 0..2 {
            let (book, began, ended) = (book.clone(), Arc::clone(&began), Arc::clone(&ended));
            drop(group.spawn_on(&threads, async move {
                book.stack(1, async {
                    dawdle().await;
                    shield(async {
                        began.fetch_add(1, SeqCst);
                        dawdle().await;
                        ended.fetch_add(1, SeqCst);
                    })
                    .await;
                    pending::<()>().await;
                })
                .await;
                Ok(())
            }));
        }
        let handle = group.handle();
        let canceller = thread::spawn(move || handle.cancel());
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!(began.load(SeqCst), ended.load(SeqCst), "a shielded region was dropped");
        book.is_closed();
        canceller.join().unwrap();
        threads.join();
    });
}

/// A scope that goes from task to task, on a thread each, while it is cancelled: each run inside ends with the one reason.
#[test]
fn r04_a_scope_that_changes_hands_is_cancelled_once() {
    explore(|| {
        let (mut scope, handle) = block_on(task(async {
            let scope = CancelScope::new().enter().unwrap();
            let handle = scope.handle();
            (scope.release().unwrap(), handle)
        }));
        let canceller = thread::spawn(move || handle.cancel_because("asked"));
        for _ in 0..3 {
            let hop = thread::spawn(move || {
                block_on(task(async move {
                    let scope = scope.adopt();
                    let left = scope.run(dawdle()).await;
                    if let Err(cancelled) = left {
                        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
                        assert_eq!(cancelled.reason().message(), Some("asked"));
                    }
                    scope.release().unwrap()
                }))
            });
            scope = hop.join().unwrap();
        }
        canceller.join().unwrap();
        let last = block_on(task(async move {
            let scope = scope.adopt();
            scope.run(pending::<()>()).await.unwrap_err();
            scope.exit().unwrap()
        }));
        assert_eq!(last.reason().unwrap().message(), Some("asked"));
    });
}
