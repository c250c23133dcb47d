//! A sketch of the floor has to keep the rules that `benches::floor` says it keeps: a figure of one that does not is no
//! floor.

use benches::floor::{ChildError, Crew, Group, Node, Scope, Stack, task, timed};
use benches::{Wakes, finish, poll, poll_with, yield_once};
use parking_lot::Mutex;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u32>>>);

impl Log {
    fn say(&self, n: u32) -> impl Future<Output = ()> + Send + 'static {
        let log = self.clone();
        async move { log.0.lock().push(n) }
    }

    fn seen(&self) -> Vec<u32> {
        self.0.lock().clone()
    }
}

#[test]
fn r14_exits_run_newest_first_and_one_that_is_registered_meanwhile_is_next() {
    let log = Log::default();
    let stack = Arc::new(Stack::default());
    finish(task(async {
        let body = async {
            stack.defer(log.say(1));
            let (again, late) = (Arc::clone(&stack), log.say(20));
            let second = log.say(2);
            stack.defer(async move {
                second.await;
                again.defer(late);
            });
            let inner = Stack::default();
            let nested = async {
                stack.defer(log.say(3));
                inner.defer(log.say(100));
            };
            inner.run(nested).await.unwrap();
            stack.defer(log.say(4));
            assert_eq!(stack.len(), 4);
        };
        stack.run(body).await.unwrap();
    }));
    assert_eq!(log.seen(), [100, 4, 3, 2, 20, 1]);
}

#[test]
fn r08_exits_of_a_dropped_run_run_beside_the_body_of_the_region_around() {
    let log = Log::default();
    finish(task(Scope::default().run(async {
        abandon(&log);
        yield_once().await;
        log.say(9).await;
    })));
    assert_eq!(log.seen(), [2, 1, 9]);
}

fn abandon(log: &Log) {
    let stack = Stack::default();
    let mut run = pin!(stack.run(async {
        stack.defer(log.say(1));
        stack.defer(log.say(2));
        pending::<()>().await;
    }));
    assert!(poll(run.as_mut()).is_pending());
}

#[test]
fn r08_exits_that_another_task_drops_go_home() {
    let (log, (wakes, waker)) = (Log::default(), Wakes::new());
    let stack: &'static Stack = Box::leak(Box::default());
    let moved = Mutex::new(None);
    let mut owner = pin!(task(async {
        let exit = log.say(1);
        let mut run = Box::pin(stack.run(async move {
            stack.defer(exit);
            pending::<()>().await;
        }));
        assert!(poll(run.as_mut()).is_pending());
        *moved.lock() = Some(run);
        yield_once().await;
        yield_once().await;
    }));
    assert!(poll_with(owner.as_mut(), &waker).is_pending());
    let before = wakes.count();
    finish(task(async { drop(moved.lock().take()) }));
    assert!(log.seen().is_empty());
    assert_eq!(wakes.count(), before + 1);
    while poll_with(owner.as_mut(), &waker).is_pending() {}
    assert_eq!(log.seen(), [1]);
}

#[test]
fn r15_a_panic_is_resumed_after_the_exits_have_run() {
    let log = Log::default();
    let stack = Stack::default();
    let run = async {
        let body = async {
            stack.defer(log.say(1));
            stack.defer(async { panic!("an exit") });
        };
        drop(stack.run(body).await);
    };
    assert!(catch_unwind(AssertUnwindSafe(|| finish(task(run)))).is_err());
    assert_eq!(log.seen(), [1]);
    // The thread is as it was.
    finish(task(Scope::default().run(async {})));
}

#[test]
fn r02_another_task_is_rejected() {
    let scope = Scope::default();
    let mut run = Box::pin(scope.run(pending::<()>()));
    assert!(finish(task(async { poll(run.as_mut()).is_pending() })));
    let foreign = catch_unwind(AssertUnwindSafe(|| finish(task(async { poll(run.as_mut()) }))));
    assert!(foreign.is_err());
}

#[test]
fn r03_a_scope_is_cancelled_from_another_thread() {
    let (wakes, waker) = Wakes::new();
    let scope = Scope::default();
    let handle = scope.handle();
    let mut run = pin!(task(scope.run(pending::<()>())));
    assert!(poll_with(run.as_mut(), &waker).is_pending());
    std::thread::scope(|threads| {
        threads.spawn(|| handle.cancel());
    });
    assert_eq!(wakes.count(), 1);
    assert_eq!(finish(run), None);
}

#[test]
fn r11_a_time_out_drops_the_body_when_the_time_is_over() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(task(async {
        assert_eq!(timed(Duration::from_millis(1), pending::<()>()).await, None);
        assert_eq!(timed(Duration::from_secs(60), async { 1 }).await, Some(1));
    }));
}

#[test]
fn r17_a_failure_cancels_the_siblings_whose_exits_run_before_the_group_is_left() {
    let log = Log::default();
    let group = Group::<u32>::default();
    let failed = finish(task(group.run(async {
        let exit = log.say(1);
        group.spawn_detached(async move {
            let stack = Stack::default();
            let body = async {
                stack.defer(exit);
                pending::<()>().await;
            };
            stack.run(body).await.unwrap();
            Ok(())
        });
        group.spawn_detached(async {
            yield_once().await;
            Err::<(), _>(7)
        });
        pending::<()>().await;
    })));
    assert!(matches!(failed.unwrap_err()[..], [(_, 7)]));
    assert_eq!(log.seen(), [1]);
}

#[test]
fn r03_a_child_is_cancelled_through_its_handle() {
    let group = Group::<u32>::default();
    let ended = finish(task(group.run(async {
        let child = group.spawn(pending::<Result<(), u32>>());
        yield_once().await;
        child.cancel();
        child.await
    })));
    assert_eq!(ended.unwrap(), Err(ChildError::Cancelled));
}

#[test]
fn r16_executor_children_are_waited_for_and_their_exits_run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let ran = Arc::new(AtomicU64::new(0));
    runtime.block_on(task(async {
        let crew = Crew::default();
        for _ in 0..100 {
            let ran = Arc::clone(&ran);
            drop(crew.spawn(async move {
                let stack = Stack::default();
                let body = async {
                    let ran = Arc::clone(&ran);
                    stack.defer(async move { _ = ran.fetch_add(1, Ordering::Relaxed) });
                    pending::<()>().await;
                };
                drop(stack.run(body).await);
            }));
        }
        let value = crew.spawn(async { 5 });
        crew.cancel();
        crew.empty().await;
        assert_eq!(value.take(), Some(5));
    }));
    assert_eq!(ran.load(Ordering::Relaxed), 100);
}

#[test]
fn r18_a_waker_that_panics_does_not_starve_the_others() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    let (wakes, waker) = Wakes::new();
    let root = Arc::new(Node::default());
    let below = Node::child(&Node::child(&root));
    root.register(&waker);
    root.register(&Arc::new(Panics).into());
    root.register(&waker);
    below.register(&waker);
    root.cancel();
    assert!(below.is_set());
    assert_eq!(wakes.count(), 3);
}
