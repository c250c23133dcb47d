//! The wakers of a group and of its in-task children: which event polls which child, and which waker is kept (R3, R16, R19).

use crate::support::{Executor, Gate, hand};
use crate::waiting_children::for_ever;
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use moored::{TaskGroup, task};
use std::future::pending;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};

type Group<'env> = TaskGroup<'env, &'static str>;

#[test]
fn r03_only_what_is_woken_is_polled_and_a_handle_is_heard() {
    let child = Mutex::new(None);
    let group = Group::new();
    let mut all = FuturesUnordered::new();
    all.push(
        group
            .run(async {
                *child.lock().unwrap() = Some(group.spawn(for_ever()));
                Ok(())
            })
            .boxed_local(),
    );
    all.push(pending().boxed_local());
    let mut outer = hand(async { all.next().await });
    outer.idle();
    let child = child.lock().unwrap().take().unwrap();
    let before = outer.wakes.count();
    child.cancel();
    assert!(outer.wakes.count() > before);
    outer.drive().unwrap().unwrap();
}

#[test]
fn r16_only_what_is_woken_is_polled_and_a_group_is_heard() {
    for how in 0..3 {
        let group = Group::new();
        let executor = Executor::new();
        let go = crate::support::Gate::new();
        let mut all = FuturesUnordered::new();
        all.push(
            group
                .run(async {
                    for _ in 0..3 {
                        group.spawn(for_ever());
                    }
                    let wait = go.wait();
                    group.spawn_on(&executor, async {
                        wait.await;
                        Err::<(), _>("broken")
                    });
                    Ok(())
                })
                .boxed_local(),
        );
        all.push(pending().boxed_local());
        let mut outer = hand(async { all.next().await });
        outer.idle();
        executor.run();
        match how {
            0 => group.cancel(),
            1 => {
                go.open();
                executor.run();
            }
            _ => {
                let handle = group.handle();
                std::thread::spawn(move || handle.cancel()).join().unwrap();
            }
        }
        for _ in 0..3 {
            executor.run();
            if how != 1 && !outer.wakes.count() == 0 {
                break;
            }
        }
        let ended = loop {
            let before = outer.wakes.count();
            if let Poll::Ready(ended) = outer.poll() {
                break ended;
            }
            executor.run();
            assert!(outer.wakes.count() > before, "pending, and nobody woke it");
        };
        assert_eq!(ended.unwrap().is_err(), how == 1);
    }
}

#[test]
fn r16_the_waker_of_the_run_may_change_while_children_are_pending() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.spawn(for_ever());
        Ok(())
    }));
    run.idle();
    let first = std::mem::replace(&mut run.wakes, crate::support::Wakes::new());
    run.idle();
    let before = first.count();
    group.cancel();
    assert_eq!(first.count(), before);
    run.drive().unwrap();
}

struct Kept;

impl Wake for Kept {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn r19_a_handle_that_is_kept_keeps_no_waker_once_its_child_was_dropped() {
    let child = Mutex::new(None);
    let group = Group::new();
    let mut run = Box::pin(group.run(async {
        *child.lock().unwrap() = Some(group.spawn(for_ever()));
        Ok(())
    }));
    let kept = Arc::new(Kept);
    let waker: Weak<Kept> = Arc::downgrade(&kept);
    {
        let waker = Waker::from(kept);
        assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert!(waker.upgrade().is_some());
    drop(run);
    assert!(waker.upgrade().is_none());
    let child = child.lock().unwrap().take().unwrap();
    child.cancel();
    assert!(child.is_finished());
}

#[test]
fn r19_a_run_that_is_kept_after_its_end_keeps_no_waker() {
    let group = Group::new();
    let mut run = Box::pin(group.run(async {
        // It ends in the poll in which it arrives, after the run's waker was registered for it.
        group.spawn(async { Ok(()) });
        Ok(())
    }));
    let kept = Arc::new(Kept);
    let waker = Arc::downgrade(&kept);
    {
        let waker = Waker::from(kept);
        assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
    assert!(waker.upgrade().is_none());
    drop(run);
}

#[test]
fn r19_a_run_that_is_kept_after_another_task_has_polled_it_keeps_no_waker() {
    let group = Group::new();
    let mut run = Box::pin(group.run(async {
        group.spawn(for_ever());
        for_ever().await
    }));
    let kept = Arc::new(Kept);
    let waker = Arc::downgrade(&kept);
    let kept = Waker::from(kept);
    let mut polled_by = |waker: &Waker| {
        let mut polled = None;
        let run = &mut run;
        hand(task(async { polled = Some(run.as_mut().poll(&mut Context::from_waker(waker))) }))
            .ready();
        polled.unwrap()
    };
    assert!(polled_by(&kept).is_pending());
    drop(kept);
    assert!(waker.upgrade().is_some());
    assert!(matches!(polled_by(Waker::noop()), Poll::Ready(Err(_))));
    assert!(waker.upgrade().is_none());
    drop(run);
}

#[test]
fn r19_a_body_finds_the_result_of_a_child_in_the_poll_in_which_the_child_ends() {
    let gate = Gate::new();
    let waits = gate.wait();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(task(group.run(async {
        let child = group.spawn(async move {
            waits.await;
            Ok(7)
        });
        Ok(child.join().await.unwrap())
    })));
    run.pending();
    assert_eq!(run.wakes.count(), 0, "a spawn by the body wakes nobody");
    gate.open();
    assert_eq!(run.wakes.count(), 1);
    assert_eq!(run.ready().unwrap(), 7);
}

#[test]
fn r16_a_spawn_beside_the_body_in_the_same_task_wakes_the_run() {
    let gate = Gate::new();
    let waits = gate.wait();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let stop = group.handle();
    let child = async move {
        stop.cancel();
        Ok(())
    };
    let mut both = hand(task(async {
        let beside = async {
            waits.await;
            group.spawn(child);
        };
        futures::join!(group.run(pending::<Result<(), ()>>()), beside)
    }));
    both.pending();
    gate.open();
    assert!(both.drive().0.is_err());
}

#[test]
fn r16_each_event_of_a_child_wakes_the_run_of_its_group() {
    for body_waits in [true, false] {
        let (events, mut next) = futures::channel::mpsc::unbounded();
        let group = Group::new();
        let mut run = hand(group.run(async {
            let child = group.spawn(async move {
                while next.next().await.is_some() {}
                Ok(())
            });
            if body_waits {
                child.join().await.unwrap();
            }
            Ok(())
        }));
        run.idle();
        for _ in 0..3 {
            let before = run.wakes.count();
            events.unbounded_send(()).unwrap();
            assert_eq!(run.wakes.count(), before + 1);
            run.idle();
        }
        drop(events);
        run.drive().unwrap();
    }
}
