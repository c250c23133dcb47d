//! Task, scope and time-out. Nothing outside reaches a region until somebody takes a handle, so until then it is
//! nothing but a part of the future that polls it: no allocation, no lock.

use super::here::{self, Home, Work};
use super::named;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(super) type Panic = Box<dyn Any + Send>;

/// Polls a body and catches its panic (R15); a body that has ended is dropped under the same catch.
pub(super) fn once<F: Future>(
    mut body: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Result<Option<F::Output>, Panic> {
    let mut ended = None;
    catch_unwind(AssertUnwindSafe(|| {
        if let Some(Poll::Ready(value)) = body.as_mut().as_pin_mut().map(|body| body.poll(cx)) {
            ended = Some(value);
            body.set(None);
        }
    }))?;
    Ok(ended)
}

/// The part of a region in its future: its owner, its place, and the exits that it has adopted.
pub(super) struct Frame {
    /// 0 before the first poll.
    owner: u64,
    at: &'static Location<'static>,
    adopted: Adopted,
}

/// Exits that were adopted: one piece of work alone has no need of a waker of its own.
#[derive(Default)]
enum Adopted {
    #[default]
    None,
    One(Work),
    /// Of a wave only what was woken is polled (R19).
    Wave(Box<FuturesUnordered<Work>>),
}

impl Adopted {
    fn add(&mut self, work: Work) {
        *self = match std::mem::take(self) {
            Adopted::None => Adopted::One(work),
            Adopted::One(first) => Adopted::Wave(Box::new([first, work].into_iter().collect())),
            Adopted::Wave(wave) => {
                wave.push(work);
                Adopted::Wave(wave)
            }
        };
    }
}

impl Frame {
    pub(super) fn new(at: &'static Location<'static>) -> Self {
        Frame { owner: 0, at, adopted: Adopted::None }
    }

    /// Records the owner (R1), or compares it (R2).
    #[inline]
    pub(super) fn enter(&mut self) {
        let task = here::task();
        if self.owner == 0 {
            self.owner = task;
        } else if self.owner != task {
            wrong_task(self.owner, task, self.at);
        }
    }

    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    /// Between the first poll and the end.
    pub(super) fn is_entered(&self) -> bool {
        self.owner != 0
    }

    pub(super) fn leave(&mut self) {
        self.owner = 0;
    }

    /// Adopts what was abandoned during the poll that has just returned, and polls it (R8). True when nothing is left.
    #[inline]
    pub(super) fn has_left(&mut self, cx: &mut Context<'_>) -> bool {
        if matches!(self.adopted, Adopted::None) && !here::has_abandoned() {
            return true;
        }
        self.run_adopted(cx)
    }

    #[cold]
    fn run_adopted(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            here::take_abandoned(|work| self.adopted.add(work));
            let polled = match &mut self.adopted {
                Adopted::None => return true,
                Adopted::One(work) => work.as_mut().poll(cx).map(|()| None),
                Adopted::Wave(wave) => wave.poll_next_unpin(cx),
            };
            match polled {
                Poll::Ready(None) => self.adopted = Adopted::None,
                Poll::Ready(Some(())) => {}
                Poll::Pending => return false,
            }
        }
    }

    pub(super) fn adopt(&mut self, work: Vec<Work>) {
        work.into_iter().for_each(|work| self.adopted.add(work));
    }

    /// Hands the adopted exits to the region around, when this one is dropped.
    pub(super) fn hand_over(&mut self) {
        match std::mem::take(&mut self.adopted) {
            Adopted::None => {}
            Adopted::One(work) => here::abandon(work),
            Adopted::Wave(wave) => wave.into_iter().for_each(here::abandon),
        }
    }
}

#[cold]
fn wrong_task(owner: u64, task: u64, at: &Location<'_>) -> ! {
    panic!("task {task} polls the region of task {owner} that was entered at {at}")
}

/// The part that a handle reaches: a flag, and the waker of the run (R3, R6).
#[derive(Debug, Default)]
pub struct Flag {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    /// Asks for cancellation, from any thread.
    pub fn cancel(&self) {
        let waker = {
            let mut waker = self.waker.lock();
            self.is_set.store(true, Ordering::Release);
            waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Registers, then looks.
    fn is_set_or_registers(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let old = self.waker.lock().replace(waker);
        drop(old);
        self.is_set()
    }
}

/// A cancel scope: its flag exists when somebody has asked for a handle.
#[derive(Debug, Default)]
pub struct Scope {
    has_entered: AtomicBool,
    flag: OnceLock<Arc<Flag>>,
}

impl Scope {
    /// A handle for other threads.
    pub fn handle(&self) -> Arc<Flag> {
        Arc::clone(self.flag.get_or_init(Arc::default))
    }

    /// Runs `body`; `None` where it was cancelled.
    #[track_caller]
    pub fn run<F: Future>(&self, body: F) -> ScopeRun<'_, F> {
        ScopeRun {
            scope: self,
            frame: Frame::new(Location::caller()),
            value: None,
            body: Some(body),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.flag.get().is_some_and(|flag| flag.is_set())
    }
}

pin_project! {
    /// A scope that runs.
    pub struct ScopeRun<'a, F: Future> {
        scope: &'a Scope,
        frame: Frame,
        value: Option<F::Output>,
        #[pin]
        body: Option<F>,
    }
    impl<F: Future> PinnedDrop for ScopeRun<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.frame.is_entered() {
                this.body.set(None);
                this.frame.hand_over();
            }
        }
    }
}

impl<F: Future> Future for ScopeRun<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let first = !this.frame.is_entered();
        this.frame.enter();
        if first {
            assert!(!this.scope.has_entered.swap(true, Ordering::AcqRel), "entered twice");
        }
        if this.body.is_some() {
            let was_cancelled = this.scope.is_cancelled();
            *this.value = once(this.body.as_mut(), cx).unwrap_or_else(|panic| {
                this.body.set(None);
                resume_unwind(panic)
            });
            if this.value.is_none() {
                let cancelled = was_cancelled
                    || this.scope.flag.get().is_some_and(|f| f.is_set_or_registers(cx.waker()));
                if !cancelled {
                    this.frame.has_left(cx);
                    return Poll::Pending;
                }
                // Pending under cancellation: dropped at the await where it is parked (R6).
                this.body.set(None);
            }
        }
        if !this.frame.has_left(cx) {
            return Poll::Pending;
        }
        this.frame.leave();
        Poll::Ready(this.value.take())
    }
}

pin_project! {
    /// A time-out: tokio's timer stands in the future, and is armed when the body is pending (R11).
    pub struct Timed<F: Future> {
        after: Duration,
        due: Option<Instant>,
        frame: Frame,
        value: Option<F::Output>,
        #[pin]
        sleep: Option<tokio::time::Sleep>,
        #[pin]
        body: Option<F>,
    }
    impl<F: Future> PinnedDrop for Timed<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.frame.is_entered() {
                this.body.set(None);
                this.frame.hand_over();
            }
        }
    }
}

/// `None` where `body` is pending when the time is over.
#[track_caller]
pub fn timed<F: Future>(after: Duration, body: F) -> Timed<F> {
    Timed {
        after,
        due: None,
        frame: Frame::new(Location::caller()),
        value: None,
        sleep: None,
        body: Some(body),
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !this.frame.is_entered() {
            *this.due = Instant::now().checked_add(*this.after);
        }
        this.frame.enter();
        while this.body.is_some() {
            let over = match this.sleep.as_mut().as_pin_mut() {
                Some(sleep) => sleep.poll(cx).is_ready(),
                None => false,
            };
            *this.value = once(this.body.as_mut(), cx).unwrap_or_else(|panic| {
                this.body.set(None);
                resume_unwind(panic)
            });
            if this.value.is_some() {
                break;
            }
            if over {
                this.body.set(None);
                break;
            }
            if let (true, Some(due)) = (this.sleep.is_none(), *this.due) {
                this.sleep.set(Some(tokio::time::sleep_until(due.into())));
                let armed = this.sleep.as_mut().as_pin_mut();
                if armed.is_some_and(|sleep| sleep.poll(cx).is_ready()) {
                    continue;
                }
            }
            this.frame.has_left(cx);
            return Poll::Pending;
        }
        this.sleep.set(None);
        if !this.frame.has_left(cx) {
            return Poll::Pending;
        }
        this.frame.leave();
        Poll::Ready(this.value.take())
    }
}

pin_project! {
    /// An identity and a root region.
    pub struct Task<F: Future> {
        id: u64,
        frame: Frame,
        home: Option<Arc<Home>>,
        value: Option<F::Output>,
        #[pin]
        body: Option<F>,
    }
    impl<F: Future> PinnedDrop for Task<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if *this.id != 0 && this.body.is_some() {
                here::inside(*this.id, this.home, || {
                    drop(catch_unwind(AssertUnwindSafe(|| this.body.set(None))));
                });
                this.frame.hand_over();
            }
        }
    }
}

/// Makes `body` a task.
#[track_caller]
pub fn task<F: Future>(body: F) -> Task<F> {
    Task { id: 0, frame: Frame::new(Location::caller()), home: None, value: None, body: Some(body) }
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if *this.id == 0 {
            *this.id = here::number();
        }
        let (frame, value) = (this.frame, this.value);
        let polled = here::inside(*this.id, this.home, || {
            if this.body.is_some() {
                *value = once(this.body.as_mut(), cx)?;
            }
            Ok(frame.has_left(cx))
        });
        let mut has_left = polled.unwrap_or_else(|panic| resume_unwind(panic));
        if let Some(home) = this.home {
            let letters = home.receive(cx.waker());
            if !letters.is_empty() {
                frame.adopt(letters);
                has_left = here::inside(*this.id, &mut None, || frame.has_left(cx));
            }
        }
        match value.take() {
            Some(ended) if has_left => Poll::Ready(ended),
            pending => {
                *value = pending;
                Poll::Pending
            }
        }
    }
}

named!([F: Future] ScopeRun<'_, F>, "ScopeRun");
named!([F: Future] Timed<F>, "Timed");
named!([F: Future] Task<F>, "Task");
