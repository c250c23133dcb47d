//! Exits. The future that polls the stack owns them. While it polls they stand in the thread, where its owner registers
//! one without a lock. A stack that is not the innermost takes a lock and raises a flag.

use super::here::{self, Exit, HERE, Home, OPEN};
use super::named;
use super::region::{Frame, Panic, once};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

/// An exit stack.
pub struct Stack {
    number: u64,
    owner: AtomicU64,
    has_late: AtomicBool,
    late: Mutex<Vec<Exit>>,
}

impl Default for Stack {
    fn default() -> Self {
        Stack {
            number: here::number(),
            owner: AtomicU64::new(0),
            has_late: AtomicBool::new(false),
            late: Mutex::new(Vec::new()),
        }
    }
}

impl Stack {
    /// Registers an exit; only the owner may (R2).
    #[track_caller]
    #[inline]
    pub fn defer(&self, exit: impl Future<Output = ()> + Send + 'static) {
        let exit = Exit { work: Box::pin(exit), at: Location::caller() };
        let (task, innermost) = HERE.with(|here| (here.task.get(), here.stack.get()));
        if innermost == self.number && !self.has_late.load(Ordering::Relaxed) {
            // The innermost stack that is polled is polled by its owner.
            OPEN.with_borrow_mut(|open| open.push(exit));
        } else {
            self.register_late(task, exit);
        }
    }

    /// The first use enters (R1), and so does this one.
    #[cold]
    fn register_late(&self, task: u64, exit: Exit) {
        let entered = self.owner.compare_exchange(0, task, Ordering::AcqRel, Ordering::Acquire);
        assert!(entered.is_ok() || entered == Err(task), "the wrong task");
        let mut late = self.late.lock();
        late.push(exit);
        self.has_late.store(true, Ordering::Release);
    }

    /// The exits that are registered.
    pub fn len(&self) -> usize {
        let is_innermost = HERE.with(|here| here.stack.get()) == self.number;
        let open = if is_innermost { OPEN.with_borrow(Vec::len) } else { 0 };
        open + self.late.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `body`, then the exits, newest first.
    #[track_caller]
    pub fn run<F: Future>(&self, body: F) -> StackRun<'_, F> {
        StackRun {
            stack: self,
            frame: Frame::new(Location::caller()),
            home: None,
            exits: Vec::new(),
            running: None,
            failed: Vec::new(),
            panic: None,
            value: None,
            body: Some(body),
        }
    }

    /// Polls with the exits in the thread. `poll` does not unwind.
    #[inline]
    fn within<R>(&self, exits: &mut Vec<Exit>, poll: impl FnOnce() -> R) -> R {
        let before = HERE.with(|here| here.stack.replace(self.number));
        OPEN.with_borrow_mut(|open| std::mem::swap(open, exits));
        let polled = poll();
        OPEN.with_borrow_mut(|open| std::mem::swap(open, exits));
        HERE.with(|here| here.stack.set(before));
        polled
    }

    /// The next exit: one that was registered meanwhile is the newest (R14).
    #[inline]
    fn pop(&self) -> Option<Exit> {
        if self.has_late.load(Ordering::Acquire) {
            self.take_late();
        }
        OPEN.with_borrow_mut(Vec::pop)
    }

    #[cold]
    fn take_late(&self) {
        let mut late = self.late.lock();
        self.has_late.store(false, Ordering::Relaxed);
        OPEN.with_borrow_mut(|open| open.append(&mut late));
    }
}

pin_project! {
    /// A stack that runs.
    pub struct StackRun<'a, F: Future> {
        stack: &'a Stack,
        frame: Frame,
        home: Option<Arc<Home>>,
        exits: Vec<Exit>,
        running: Option<Exit>,
        failed: Vec<&'static Location<'static>>,
        panic: Option<Panic>,
        value: Option<F::Output>,
        #[pin]
        body: Option<F>,
    }
    impl<F: Future> PinnedDrop for StackRun<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.frame.is_entered() {
                let mut body = this.body;
                this.stack.within(this.exits, || {
                    drop(catch_unwind(AssertUnwindSafe(|| body.set(None))));
                    if this.stack.has_late.load(Ordering::Acquire) {
                        this.stack.take_late();
                    }
                });
                // A half-run exit goes first (R7).
                this.exits.extend(this.running.take());
                hand_over(this.frame, std::mem::take(this.exits), this.home.take());
            }
        }
    }
}

/// Hands the exits to the region around where the drop happens in the owner's task, else home (R8).
fn hand_over(frame: &mut Frame, exits: Vec<Exit>, home: Option<Arc<Home>>) {
    frame.hand_over();
    if exits.is_empty() {
        return;
    }
    let task = frame.owner();
    let batch = Box::pin(Batch { task, exits });
    match home {
        Some(home) if here::task() != task => home.send(batch),
        _ => here::abandon(batch),
    }
}

/// The exits of a stack that was dropped, newest first, each under its own catch. They run under the identity of the task
/// that registered them.
struct Batch {
    task: u64,
    exits: Vec<Exit>,
}

impl Future for Batch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        here::inside(self.task, &mut None, || {
            while let Some(exit) = self.exits.last_mut() {
                let polled = catch_unwind(AssertUnwindSafe(|| exit.work.as_mut().poll(cx)));
                if matches!(polled, Ok(Poll::Pending)) {
                    return Poll::Pending;
                }
                let gone = self.exits.pop();
                drop(catch_unwind(AssertUnwindSafe(|| drop(gone))));
            }
            Poll::Ready(())
        })
    }
}

impl<F: Future> Future for StackRun<'_, F> {
    type Output = Result<F::Output, Vec<&'static Location<'static>>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (stack, frame, failed) = (*this.stack, this.frame, this.failed);
        let (mut body, value, panic, running) = (this.body, this.value, this.panic, this.running);
        if !frame.is_entered() {
            frame.enter();
            let owner =
                stack.owner.compare_exchange(0, frame.owner(), Ordering::AcqRel, Ordering::Acquire);
            assert!(owner.is_ok() || owner == Err(frame.owner()), "the wrong task");
        } else {
            frame.enter();
        }
        let has_left = stack.within(this.exits, || {
            if body.is_some() {
                match once(body.as_mut(), cx) {
                    Ok(None) => return false,
                    Ok(ended) => *value = ended,
                    Err(payload) => {
                        *panic = Some(payload);
                        drop(catch_unwind(AssertUnwindSafe(|| body.set(None))));
                    }
                }
            }
            loop {
                let Some(exit) = running.take().or_else(|| stack.pop()) else { return true };
                let at = exit.at;
                let mut exit = Some(exit);
                let polled = catch_unwind(AssertUnwindSafe(|| {
                    if let Some(running) = &mut exit
                        && running.work.as_mut().poll(cx).is_ready()
                    {
                        exit = None;
                    }
                }));
                match polled {
                    Ok(()) if exit.is_some() => {
                        *running = exit;
                        return false;
                    }
                    Ok(()) => {}
                    Err(payload) => {
                        failed.push(at);
                        panic.get_or_insert(payload);
                    }
                }
            }
        });
        if !frame.has_left(cx) || !has_left {
            this.home.get_or_insert_with(here::home);
            return Poll::Pending;
        }
        frame.leave();
        if let Some(payload) = panic.take() {
            resume_unwind(payload);
        }
        match value.take() {
            Some(value) if failed.is_empty() => Poll::Ready(Ok(value)),
            _ => Poll::Ready(Err(std::mem::take(failed))),
        }
    }
}

named!([] Stack, "Stack");
named!([F: Future] StackRun<'_, F>, "StackRun");
