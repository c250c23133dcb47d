//! Helpers of the models.

use moored::{ExitOutput, ExitStack};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// As `loom::model`; prints the number of interleavings.
pub(crate) fn model(model: impl Fn() + Send + Sync + 'static) {
    explore(model, |counting| many_steps().check(counting));
}

/// Many steps are no spinning.
fn many_steps() -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = builder.max_branches.max(10_000);
    builder
}

/// With one preemption less, for a model of three threads of which each does much: with two it takes minutes. The deep
/// run's three are two here.
pub(crate) fn coarse_model(model: impl Fn() + Send + Sync + 'static) {
    explore(model, |counting| {
        let mut builder = many_steps();
        builder.preemption_bound = builder.preemption_bound.map(|bound| bound.saturating_sub(1));
        builder.check(counting);
    });
}

fn explore(
    model: impl Fn() + Send + Sync + 'static,
    check: impl FnOnce(Box<dyn Fn() + Send + Sync>),
) {
    let count = Count::new();
    let counting = count.clone();
    check(Box::new(move || {
        counting.add();
        model();
    }));
    // The form that ci/proof.py reads.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("explored {name}: {} interleavings", count.get());
}

/// Counts; an atomic of `std`, which loom does not explore.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn new() -> Self {
        Count::default()
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Counts when it is dropped.
    pub(crate) fn on_drop(&self) -> CountOnDrop {
        CountOnDrop(self.clone())
    }

    /// Counts when it is polled, and is ready then.
    pub(crate) fn entry(&self) -> impl Future<Output = ()> + Send + 'static {
        let count = self.clone();
        async move { count.add() }
    }
}

pub(crate) struct CountOnDrop(Count);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Pending for ever; counts its drop.
pub(crate) async fn parked(dropped: CountOnDrop) {
    let _dropped = dropped;
    pending::<()>().await;
}

/// Pending once, woken at once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A gate that is closed until another thread opens it. One future waits for it.
#[derive(Default)]
pub(crate) struct Gate {
    open: loom::sync::atomic::AtomicBool,
    waker: loom::future::AtomicWaker,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    pub(crate) fn wait(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let gate = Arc::clone(self);
        std::future::poll_fn(move |cx| {
            gate.waker.register_by_ref(cx.waker());
            match gate.open.load(Ordering::SeqCst) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
    }
}

/// A child that registers `exit` and is pending then.
pub(crate) async fn abandons<O: ExitOutput>(
    exit: impl Future<Output = O> + Send + 'static,
) -> Result<(), ()> {
    let stack = ExitStack::new();
    let body = async {
        stack.defer(exit);
        pending::<Result<(), ()>>().await
    };
    stack.run(body).await.map_err(drop)
}

/// The number of reports of lost exits in the model that runs on this thread, and of failures that have no
/// record.
///
/// Loom runs all threads of a model on one thread of the system, so a thread-local of `std` belongs to one model even
/// where the tests run in parallel.
pub(crate) mod lost {
    use std::cell::Cell;
    use std::sync::Once;

    std::thread_local! {
        static LOST: Cell<usize> = const { Cell::new(0) };
        static UNRECORDED: Cell<Option<usize>> = const { Cell::new(None) };
    }

    pub(crate) fn reset() {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            moored::set_report_hook(|report| match report {
                moored::Report::LostExits { registered_at, .. } => {
                    LOST.set(LOST.get() + registered_at.len());
                }
                other => match UNRECORDED.get() {
                    Some(count) if matches!(other, moored::Report::Unrecorded { .. }) => {
                        UNRECORDED.set(Some(count + 1));
                    }
                    _ => panic!("unexpected report: {other}"),
                },
            });
        });
        LOST.set(0);
        UNRECORDED.set(None);
    }

    /// As [`reset`], in a model in which a failure may come too late for a record.
    pub(crate) fn reset_with_unrecorded() {
        reset();
        UNRECORDED.set(Some(0));
    }

    /// The number of reports of failures that have no record.
    pub(crate) fn unrecorded() -> usize {
        UNRECORDED.get().unwrap_or(0)
    }

    pub(crate) fn count() -> usize {
        LOST.get()
    }
}
