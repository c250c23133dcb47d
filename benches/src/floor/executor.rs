//! A group of children on tokio. The value and the region of a child are one allocation; a child without a handle that
//! is ready at once has none.

use super::here::{self, Home};
use super::named;
use super::region::{Frame, Panic, once};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use slab::Slab;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

const UNLINKED: usize = usize::MAX;

/// The part of a child that its group reaches: a flag, and its waker.
struct Region {
    is_cancelled: AtomicBool,
    link: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// A region, and the place of a value beside it.
struct Cell<T> {
    region: Region,
    value: Mutex<Option<T>>,
}

trait HasRegion: Send + Sync {
    fn region(&self) -> &Region;
}

impl<T: Send> HasRegion for Cell<T> {
    fn region(&self) -> &Region {
        &self.region
    }
}

impl<T> Cell<T> {
    fn new() -> Self {
        let (is_cancelled, link) = (AtomicBool::new(false), AtomicUsize::new(UNLINKED));
        let region = Region { is_cancelled, link, waker: Mutex::new(None) };
        Cell { region, value: Mutex::new(None) }
    }
}

/// The number of children, and links to those that wait.
#[derive(Default)]
struct Inside {
    count: AtomicU64,
    is_cancelled: AtomicBool,
    panic: Mutex<Option<Panic>>,
    waits: Mutex<Option<Waker>>,
    links: Mutex<Slab<Weak<dyn HasRegion>>>,
}

impl Inside {
    fn leave(&self, region: Option<&Region>) {
        if let Some(region) = region {
            let link = region.link.load(Ordering::Relaxed);
            if link != UNLINKED {
                let gone = self.links.lock().try_remove(link);
                drop(gone);
            }
            let waker = region.waker.lock().take();
            drop(waker);
        }
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = self.waits.lock().take();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// A group of executor children.
#[derive(Default)]
pub struct Crew(Arc<Inside>);

/// Keeps the place of a value.
pub struct Value<T>(Arc<Cell<T>>);

impl<T> Value<T> {
    /// The value, once it is there.
    pub fn take(&self) -> Option<T> {
        self.0.value.lock().take()
    }
}

impl Crew {
    /// A child with a handle.
    #[track_caller]
    pub fn spawn<F>(&self, body: F) -> Value<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cell = Arc::new(Cell::new());
        self.start(Some(Arc::clone(&cell)), body);
        Value(cell)
    }

    /// A child without one.
    #[track_caller]
    pub fn spawn_detached<F>(&self, body: F)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.start(None, body);
    }

    #[track_caller]
    fn start<F>(&self, cell: Option<Arc<Cell<F::Output>>>, body: F)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        drop(tokio::spawn(Child {
            id: here::number(),
            inside: Some(Arc::clone(&self.0)),
            frame: Frame::new(Location::caller()),
            home: None,
            cell,
            mark: None,
            body: Some(body),
        }));
    }

    /// Cancels every child that waits, and each that will. Wakes after each 64, while they are in the cache.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        let children: Vec<_> =
            self.0.links.lock().iter().filter_map(|(_, child)| child.upgrade()).collect();
        let mut wakers: Vec<Waker> = Vec::with_capacity(64);
        for block in children.chunks(64) {
            for child in block {
                let region = child.region();
                region.is_cancelled.store(true, Ordering::Release);
                wakers.extend(region.waker.lock().take());
            }
            let wake = |waker: Waker| drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
            wakers.drain(..).for_each(wake);
        }
    }

    /// Ready when every child has left (R16); resumes the first panic (R15).
    pub async fn empty(&self) {
        poll_fn(|cx: &mut Context<'_>| {
            let old = self.0.waits.lock().replace(cx.waker().clone());
            drop(old);
            match self.0.count.load(Ordering::Acquire) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        let panic = self.0.panic.lock().take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

pin_project! {
    struct Child<F: Future> {
        id: u64,
        inside: Option<Arc<Inside>>,
        frame: Frame,
        home: Option<Arc<Home>>,
        cell: Option<Arc<Cell<F::Output>>>,
        mark: Option<(usize, usize)>,
        #[pin]
        body: Option<F>,
    }
    impl<F: Future> PinnedDrop for Child<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(inside) = this.inside.take() {
                here::inside(*this.id, this.home, || {
                    drop(catch_unwind(AssertUnwindSafe(|| this.body.set(None))));
                });
                inside.leave(this.cell.as_deref().map(|cell| &cell.region));
            }
        }
    }
}

impl<F> Future for Child<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (mut body, frame, cell, mark) = (this.body, this.frame, this.cell, this.mark);
        let Some(inside) = this.inside.as_ref() else { return Poll::Ready(()) };
        let has_left = here::inside(*this.id, this.home, || {
            frame.enter();
            while body.is_some() {
                let was_cancelled =
                    cell.as_ref().is_some_and(|c| c.region.is_cancelled.load(Ordering::Acquire));
                let ended = match once(body.as_mut(), cx) {
                    Ok(None) if !was_cancelled => {
                        if !waits(inside, cell, mark, cx.waker()) {
                            frame.has_left(cx);
                            return false;
                        }
                        // Cancelled meanwhile: polled once more (R6).
                        continue;
                    }
                    Ok(None) => {
                        drop(catch_unwind(AssertUnwindSafe(|| body.set(None))));
                        break;
                    }
                    Ok(Some(value)) => value,
                    Err(panic) => {
                        inside.panic.lock().get_or_insert(panic);
                        drop(catch_unwind(AssertUnwindSafe(|| body.set(None))));
                        break;
                    }
                };
                if let Some(cell) = cell
                    && Arc::strong_count(cell) > 1
                {
                    *cell.value.lock() = Some(ended);
                }
            }
            frame.has_left(cx)
        });
        if !has_left {
            return Poll::Pending;
        }
        inside.leave(cell.as_deref().map(|cell| &cell.region));
        *this.inside = None;
        Poll::Ready(())
    }
}

/// Registers the waker where it has changed, links the child, then looks whether it was cancelled.
fn waits<T: Send + 'static>(
    inside: &Inside,
    cell: &mut Option<Arc<Cell<T>>>,
    mark: &mut Option<(usize, usize)>,
    waker: &Waker,
) -> bool {
    let cell = cell.get_or_insert_with(|| Arc::new(Cell::new()));
    let region = &cell.region;
    let now = Some((waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr()));
    if *mark != now {
        *mark = now;
        let waker = waker.clone();
        let old = region.waker.lock().replace(waker);
        drop(old);
        if region.link.load(Ordering::Relaxed) == UNLINKED {
            let weak: Weak<Cell<T>> = Arc::downgrade(cell);
            let link = inside.links.lock().insert(weak);
            region.link.store(link, Ordering::Relaxed);
        }
    }
    let cancelled =
        region.is_cancelled.load(Ordering::Acquire) || inside.is_cancelled.load(Ordering::SeqCst);
    if cancelled {
        region.is_cancelled.store(true, Ordering::Release);
    }
    cancelled
}

named!([] Crew, "Crew");
named!([T] Value<T>, "Value");
