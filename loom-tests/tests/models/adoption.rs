//! Exits that are handed over from one thread while the region that would run them leaves on another.

use crate::support::{Count, lost, model, poll_once, yield_now};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, ExitStack, Failure, task};
use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// A task that moves between threads.
type Away = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An exit whose task is dropped by another thread while the region around it leaves runs exactly once, or is reported
/// lost exactly once, and in no case is it both or neither.
#[test]
fn r08_adoption_against_closing() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let scope = CancelScope::new();
        let away: Arc<Mutex<Option<Away>>> = Arc::default();
        let mut thief = None;
        let exit = ran.entry();
        block_on(scope.run(async {
            let mut inner: Away = Box::pin(task(async move {
                let stack = ExitStack::new();
                let body = async {
                    stack.defer(exit);
                    pending::<Result<(), ()>>().await
                };
                let _ = stack.run(body).await;
            }));
            assert!(poll_once(inner.as_mut()).is_pending());
            *away.lock().unwrap() = Some(inner);
            let away = Arc::clone(&away);
            thief = Some(thread::spawn(move || {
                let task = away.lock().unwrap().take();
                drop(task);
            }));
        }))
        .unwrap();
        let by_now = ran.get();
        thief.unwrap().join().unwrap();
        assert_eq!(ran.get(), by_now, "an exit ran after the region was left");
        assert_eq!(ran.get() + lost::count(), 1);
    });
}

/// The same for a scope that ends in a later poll, in which no event of before has to be seen.
#[test]
fn r08_adoption_against_the_end_of_a_later_poll() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let scope = CancelScope::new();
        let away: Arc<Mutex<Option<Away>>> = Arc::default();
        let exit = ran.entry();
        let mut run = Box::pin(scope.run(async {
            let mut inner: Away = Box::pin(task(async move {
                let stack = ExitStack::new();
                stack.defer(exit);
                pending::<()>().await;
            }));
            assert!(poll_once(inner.as_mut()).is_pending());
            *away.lock().unwrap() = Some(inner);
            yield_now().await;
        }));
        assert!(poll_once(run.as_mut()).is_pending());
        let task = away.lock().unwrap().take();
        let thief = thread::spawn(move || drop(task));
        // By the same waker, so that this poll has nothing to register and ends in a hurry.
        if poll_once(run.as_mut()).is_pending() {
            block_on(run).unwrap();
        }
        let by_now = ran.get();
        thief.join().unwrap();
        assert_eq!(ran.get(), by_now, "an exit ran after the region was left");
        assert_eq!(ran.get() + lost::count(), 1);
    });
}

/// An exit that another thread, which has no identity, registers while the stack is being left runs before that, or is
/// handed back.
#[test]
fn r14_registering_an_exit_against_leaving() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let stack = Arc::new(ExitStack::new());
        let late = thread::spawn({
            let (stack, exit) = (Arc::clone(&stack), ran.entry());
            move || stack.try_defer(exit).is_ok()
        });
        block_on(stack.run(async { Ok::<_, ()>(()) })).unwrap();
        let taken = late.join().unwrap();
        assert_eq!((ran.get(), lost::count()), (usize::from(taken), 0));
    });
}

/// A `run` to which exits are handed over while it registers its waker runs them, and has a waker in place afterwards:
/// a later hand-over wakes it as well.
#[test]
fn r08_adoption_against_registration() {
    model(|| {
        lost::reset();
        let (ran, wakes) = (Count::new(), Arc::new(Count::new()));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let thief = Cell::new(None);
        let exit = ran.entry();
        let mut run = pin!(scope.run(async {
            let mut inner: Away = Box::pin(task(async move {
                let stack = ExitStack::new();
                let body = async {
                    stack.defer(exit);
                    pending::<Result<(), ()>>().await
                };
                let _ = stack.run(body).await;
            }));
            assert!(poll_once(inner.as_mut()).is_pending());
            thief.set(Some(thread::spawn(move || drop(inner))));
            pending::<()>().await;
        }));
        assert!(run.as_mut().poll(&mut cx).is_pending());
        thief.take().unwrap().join().unwrap();
        assert!(ran.get() == 1 || wakes.get() > 0, "exits lie where nobody looks");
        assert!(run.as_mut().poll(&mut cx).is_pending());
        assert_eq!((ran.get(), lost::count()), (1, 0));
        let before = wakes.get();
        handle.cancel();
        assert!(wakes.get() > before, "the run has no waker any more");
        assert!(run.as_mut().poll(&mut cx).is_ready());
    });
}

/// One level deeper: exits that come too late for the inner region go on to the outer one, and are never
/// lost as long as the outer region lives.
#[test]
fn r08_adoption_goes_on_to_the_next_region() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let exit = ran.entry();
        let mut thief = None;
        block_on(outer.run(async {
            inner
                .run(async {
                    let mut lent: Pin<Box<dyn Future<Output = ()> + Send>> =
                        Box::pin(task(async move {
                            let stack = ExitStack::new();
                            let body = async {
                                stack.defer(exit);
                                pending::<Result<(), ()>>().await
                            };
                            let _ = stack.run(body).await;
                        }));
                    assert!(poll_once(lent.as_mut()).is_pending());
                    thief = Some(thread::spawn(move || drop(lent)));
                })
                .await
                .unwrap();
            // Blocks the outer region's thread until the hand-over is over, so that the outer one lives meanwhile.
            thief.take().unwrap().join().unwrap();
        }))
        .unwrap();
        assert_eq!((ran.get(), lost::count()), (1, 0));
    });
}

/// A `Held` that another thread drops while its stack is being left: its exit runs exactly once, in the stack or, where
/// it came too late there, in the region around it.
#[test]
fn r08_a_held_value_that_comes_back_against_leaving() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let outer = CancelScope::new();
        let mut user = None;
        block_on(outer.run(async {
            let stack = ExitStack::new();
            let left: Result<(), Failure<()>> = stack
                .run(async {
                    let exit = ran.entry();
                    let held = stack.hold(7, |seven| async move {
                        assert_eq!(seven, 7);
                        exit.await;
                    });
                    user = Some(thread::spawn(move || drop(held)));
                    Ok(())
                })
                .await;
            // `Err` only where the exit found the value out.
            assert!(left.is_err() || ran.get() == 1);
            user.take().unwrap().join().unwrap();
        }))
        .unwrap();
        assert_eq!((ran.get(), lost::count()), (1, 0));
    });
}

/// A task ends on another thread while the stack in which it was first polled is being left. The task has a failure of
/// an exit that it adopted. The failure stands in the record of the stack, or is reported, and in no case is it both or
/// neither.
#[test]
fn r15_a_failure_that_is_sent_against_leaving_its_record() {
    model(|| {
        lost::reset_with_unrecorded();
        let away: Arc<Mutex<Option<Away>>> = Arc::default();
        let mut elsewhere = None;
        let stack = ExitStack::new();
        let left: Result<(), Failure<()>> = block_on(stack.run(async {
            let mut lent: Away = Box::pin(task(async {
                let inner = ExitStack::new();
                inner.defer(async { Err("of an exit") });
                yield_now().await;
                drop(inner);
            }));
            assert!(poll_once(lent.as_mut()).is_pending());
            *away.lock().unwrap() = Some(lent);
            let away = Arc::clone(&away);
            elsewhere = Some(thread::spawn(move || {
                let task = away.lock().unwrap().take();
                block_on(task.unwrap());
            }));
            Ok(())
        }));
        elsewhere.unwrap().join().unwrap();
        let recorded = left.map_or_else(|failure| failure.causes().count(), |()| 0);
        assert_eq!(recorded + lost::unrecorded(), 1);
    });
}
