//! A child that is started, against the wait until it is ready.

use crate::support::{Count, CountOnDrop, lost, model, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::{Cause, Ready, TaskGroup};
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

type Group = TaskGroup<'static, ()>;

/// The `Ready` of a started child. Its value is counted when it is dropped.
type Says = Ready<'static, CountOnDrop>;

/// A group in which a child is started that does nothing, and the child's `Ready`.
fn start(group: &Group) -> (impl Future<Output = Result<CountOnDrop, moored::Failure<()>>>, Says) {
    let mut says = None;
    let start = group.start(|ready| {
        says = Some(ready);
        pending()
    });
    (start, says.unwrap())
}

/// `Ready` is called on another thread while the wait for it begins: the value arrives, and no wake-up is
/// lost.
#[test]
fn r16_ready_against_the_wait_for_it() {
    model(|| {
        let dropped = Count::new();
        let group = Group::new();
        let (start, says) = start(&group);
        let value = dropped.on_drop();
        let child = thread::spawn(move || says(value));
        let value = block_on(start).unwrap();
        assert_eq!(dropped.get(), 0);
        drop(value);
        child.join().unwrap();
        assert_eq!(dropped.get(), 1);
    });
}

/// `Ready` is called while the wait is dropped: the value is dropped once, and the child is cancelled unless `Ready`
/// came first.
#[test]
fn r16_ready_against_the_drop_of_the_wait() {
    model(|| {
        let dropped = Count::new();
        let group = Group::new();
        let (start, says) = start(&group);
        let value = dropped.on_drop();
        let child = thread::spawn(move || says(value));
        {
            let mut start = pin!(start);
            let _ = poll_once(start.as_mut());
        }
        child.join().unwrap();
        assert_eq!(dropped.get(), 1);
    });
}

/// `Ready` is called on another thread while the child ends without it: the wait ends with the value or
/// without one, and a value that does not arrive is dropped once.
#[test]
fn r16_ready_against_the_end_of_the_child() {
    model(|| {
        let dropped = Count::new();
        let group = Group::new();
        let mut says = None;
        let start = group.start(|ready: Says| {
            says = Some(ready);
            async { Ok(()) }
        });
        let (says, value) = (says.unwrap(), dropped.on_drop());
        let child = thread::spawn(move || says(value));
        let ended = block_on(group.run(async { Ok(start.await) })).unwrap();
        match ended {
            Ok(value) => drop(value),
            Err(failure) => assert!(matches!(failure.cause(), Cause::NotReady { .. })),
        }
        child.join().unwrap();
        assert_eq!(dropped.get(), 1);
    });
}

/// Calls `Ready` when it is dropped, as a waker may that owns the task it wakes.
struct SaysOnDrop(Mutex<Option<(Says, CountOnDrop)>>);

impl Wake for SaysOnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for SaysOnDrop {
    fn drop(&mut self) {
        if let Some((says, value)) = self.0.get_mut().unwrap().take() {
            says(value);
        }
    }
}

/// The waker of the wait calls `Ready` when it is dropped, while the group and with it the child is cancelled: the
/// waker is dropped outside the lock that `Ready` takes (R18).
#[test]
fn r18_a_waker_that_says_ready_against_the_end_of_the_child() {
    model(|| {
        let dropped = Count::new();
        let group = Group::new();
        let (start, says) = start(&group);
        let mut start = Box::pin(start);
        let waker = SaysOnDrop(Mutex::new(Some((says, dropped.on_drop()))));
        let waker = Waker::from(Arc::new(waker));
        assert!(start.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        let handle = group.handle();
        let canceller = thread::spawn(move || handle.cancel());
        block_on(group.run(pending::<Result<(), ()>>())).unwrap_err();
        canceller.join().unwrap();
        match block_on(Pin::new(&mut start)) {
            Ok(value) => drop(value),
            Err(failure) => assert!(matches!(failure.cause(), Cause::Cancelled(_))),
        }
        assert_eq!(dropped.get(), 1);
    });
}

/// A started child fails while the wait for it is polled and dropped on another thread: the error is returned by the wait,
/// is in the group's failure, or is reported, and in no case twice.
#[test]
fn r15_a_failure_before_ready_against_the_drop_of_the_wait() {
    model(|| {
        lost::reset_with_unrecorded();
        let group = Group::new();
        let start = group.start(|_: Says| async { Err(()) });
        let elsewhere = thread::spawn(move || {
            let mut start = pin!(start);
            match poll_once(start.as_mut()) {
                Poll::Ready(Err(failure)) => {
                    assert!(matches!(failure.cause(), Cause::Child { .. }));
                    1
                }
                Poll::Ready(Ok(_)) => unreachable!("it is never ready"),
                Poll::Pending => 0,
            }
        });
        let run = block_on(group.run(async { Ok(()) }));
        let recorded = run.map_or_else(|failure| failure.causes().count(), |()| 0);
        let returned = elsewhere.join().unwrap();
        assert_eq!(recorded + returned + lost::unrecorded(), 1);
    });
}
