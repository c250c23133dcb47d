//! Send, Sync and Unpin of every public type and future, negatives too.

use moored::testing::MockClock;
use moored::*;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Ready;
use std::marker::{PhantomData, PhantomPinned};
use std::rc::Rc;
use std::time::Duration;

/// An inherent constant hides the trait's one of the same name where its bound holds.
struct Probe<T: ?Sized>(PhantomData<T>);

macro_rules! probe {
    ($name:ident, $bound:ident, $otherwise:ident) => {
        #[allow(dead_code)]
        impl<T: ?Sized + $bound> Probe<T> {
            const $name: bool = true;
        }
        #[allow(dead_code)]
        trait $otherwise {
            const $name: bool = false;
        }
        impl<T: ?Sized> $otherwise for Probe<T> {}
    };
}

probe!(SEND, Send, NotSend);
probe!(SYNC, Sync, NotSync);
probe!(UNPIN, Unpin, NotUnpin);

/// Checked by the compiler: `type: Send Sync Unpin`, each with `!` where it must not be.
macro_rules! pinned_down {
    ($($type:ty: $send:literal $sync:literal $unpin:literal;)*) => {
        $(const _: () = {
            assert!(<Probe<$type>>::SEND == $send, concat!(stringify!($type), ": Send"));
            assert!(<Probe<$type>>::SYNC == $sync, concat!(stringify!($type), ": Sync"));
            assert!(<Probe<$type>>::UNPIN == $unpin, concat!(stringify!($type), ": Unpin"));
        };)*
    };
}

type NotSendBody = Ready<Result<Rc<()>, Rc<()>>>;
type SendBody = Ready<Result<(), ()>>;

/// A body that must not be moved.
struct Pinned(PhantomPinned);

impl Future for Pinned {
    type Output = Result<(), ()>;
    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::task::Poll::Pending
    }
}

pinned_down! {
    // Values that a user holds and shares: a region may be lent to other threads.
    CancelScope: true true true;
    CancelHandle: true true true;
    ExitStack: true true true;
    TaskGroup<'static, ()>: true true true;
    TaskGroup<'static, Cell<()>>: true true true;
    TaskGroup<'static, Rc<()>>: false false true;
    GroupSpawner<'static, ()>: true true true;
    GroupSpawner<'static, Rc<()>>: false false true;
    GroupGuard: true true true;
    TaskHandle<()>: true true true;
    TaskHandle<Cell<()>>: true true true;
    TaskHandle<Rc<()>>: false false true;
    Values<()>: true true true;
    Values<Cell<()>>: true true true;
    Values<Rc<()>>: false false true;
    Held<()>: true true true;
    Held<Cell<()>>: true false true;

    // Futures: as `Send` as their bodies. They need not be `Sync`, because a future is polled
    // through `&mut`.
    Task<SendBody>: true false true;
    Task<NotSendBody>: false false true;
    Task<Pinned>: true false false;
    // The timer is part of it.
    MoveOn<SendBody>: true false false;
    MoveOn<NotSendBody>: false false false;
    FailAt<SendBody>: true false false;
    ScopeRun<'static, SendBody>: true false true;
    ScopeRun<'static, NotSendBody>: false false true;
    ScopeRun<'static, Pinned>: true false false;
    StackRun<'static, SendBody>: true false true;
    StackRun<'static, NotSendBody>: false false true;
    StackRun<'static, Pinned>: true false false;
    GroupRun<'static, SendBody, BoxChild<'static>>: true false true;
    GroupRun<'static, NotSendBody, BoxChild<'static>>: false false true;
    GroupRun<'static, Pinned, BoxChild<'static>>: true false false;
    Close: true false true;
    Cancellation: true true true;
    Tightening: true true true;
    Checkpoint: true true true;
    Join<()>: true true true;
    Join<Rc<()>>: false false true;

    // Values.
    TaskId: true true true;
    Reason: true true true;
    ReasonKind: true true true;
    Leaving: true true true;
    Cancelled: true true true;
    Cause<()>: true true true;
    Cause<Rc<()>>: false false true;
    ExitFailure: true true true;
    Failure<()>: true true true;
    Failure<Infallible>: true true true;
    Failure<Rc<()>>: false false true;
    ChildError: true true true;
    CloseError: true true true;
    Misuse: true true true;
    WrongTask: true true true;
    Rejected<()>: true true true;
    Rejected<Rc<()>>: false false true;
    Report: true true true;
    BoxError: true true true;

    // Runtimes.
    BoxTask: true false true;
    Refused: true false true;
    Sleep: true false true;
    Box<dyn Clock>: true true true;
    MockClock: true true true;
    rt::tokio::Tokio: true true true;
}

#[cfg(feature = "smol")]
pinned_down! {
    rt::smol::Smol: true true true;
}

/// The future of an async block is as `Send` as the values that it holds, also with every
/// region inside.
#[test]
fn a_body_with_every_region_inside_is_send() {
    fn send<T: Send>(_: T) {}
    send(async {
        let scope = CancelScope::new();
        let stack = ExitStack::new();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let held = stack.hold((), |()| async {});
        let child = group.spawn(async { Ok(()) });
        let handle = scope.handle();
        let body = stack.run(group.run(async { Ok(child.join().await.is_ok()) }));
        let _ = task(scope.run(async { body.await.map_err(drop) })).await;
        drop(held);
        handle.cancelled().await;
        checkpoint().await;
        ExitStack::new().close().await.unwrap();
    });
}

/// Inside an async block the compiler forgets which lifetimes are equal, those in an error type too. So a `run` must not
/// ask for two equal errors.
#[test]
fn a_groups_run_inside_other_futures_is_send_also_if_its_error_has_a_lifetime() {
    fn send<T: Send>(_: T) {}
    send(async {
        let group: TaskGroup<'_, BoxError> = TaskGroup::new();
        let _ = task(CancelScope::new().run(group.run(async { Ok(()) }))).await;
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let limited = fail_after(Duration::ZERO, group.run(async { Ok(()) }));
        let _ = futures::future::join(shield(limited), async {}).await;
    });
}
