//! A group of children in the task. A child holds nothing of its group: the group lends it its record at each poll.

use super::here::{self, Home};
use super::named;
use super::region::{Frame, Panic, once};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Why a child has no value.
#[derive(Debug, PartialEq)]
pub enum ChildError {
    /// Its error is in the group's record.
    Failed,
    /// It was dropped where it was parked.
    Cancelled,
    /// Its panic is resumed by the group.
    Panicked,
}

/// The end of a child.
pub type Outcome<T> = Result<T, ChildError>;

/// Where a child leaves its value.
pub(super) trait Place<T> {
    fn fill(self, outcome: Outcome<T>);
    /// Whether the handle has asked for cancellation; registers the child's waker before it looks.
    fn is_cancelled(&self, waker: &Waker) -> bool;
}

/// Without a handle.
pub(super) struct Nowhere;

impl<T> Place<T> for Nowhere {
    fn fill(self, _: Outcome<T>) {}
    fn is_cancelled(&self, _: &Waker) -> bool {
        false
    }
}

/// With a handle, which may be on another thread (R3).
pub(super) struct Slot<T> {
    is_cancelled: AtomicBool,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    outcome: Option<Outcome<T>>,
    /// First the child's, then that of the `join`: a group whose child ends wakes nobody else.
    child: Option<Waker>,
    join: Option<Waker>,
}

impl<T> Place<T> for Arc<Slot<T>> {
    #[inline]
    fn fill(self, outcome: Outcome<T>) {
        if Arc::strong_count(&self) == 1 {
            return;
        }
        let (child, join) = {
            let mut inside = self.inside.lock();
            inside.outcome = Some(outcome);
            (inside.child.take(), inside.join.take())
        };
        drop(child);
        join.into_iter().for_each(Waker::wake);
    }

    fn is_cancelled(&self, waker: &Waker) -> bool {
        if Arc::strong_count(self) > 1 {
            let mut inside = self.inside.lock();
            // A member's waker stays the same.
            if inside.child.is_none() {
                inside.child = Some(waker.clone());
            }
        }
        self.is_cancelled.load(Ordering::Acquire)
    }
}

/// A child's handle: its value, its cancellation.
pub struct Handle<T>(Arc<Slot<T>>);

impl<T> Handle<T> {
    pub(super) fn new() -> (Self, Arc<Slot<T>>) {
        let inside = Mutex::new(Inside { outcome: None, child: None, join: None });
        let slot = Arc::new(Slot { is_cancelled: AtomicBool::new(false), inside });
        (Handle(Arc::clone(&slot)), slot)
    }

    /// Cancels the child.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Release);
        let child = self.0.inside.lock().child.take();
        child.into_iter().for_each(Waker::wake);
    }
}

impl<T> Future for Handle<T> {
    type Output = Outcome<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let waker = cx.waker().clone();
        let mut inside = self.0.inside.lock();
        match inside.outcome.take() {
            Some(outcome) => {
                drop(inside);
                Poll::Ready(outcome)
            }
            None => {
                let old = inside.join.replace(waker);
                drop(inside);
                drop(old);
                Poll::Pending
            }
        }
    }
}

/// The group's record: errors in the order in which they came, and the first panic (R15).
struct Record<E> {
    errors: Vec<(u64, E)>,
    panic: Option<Panic>,
}

trait Member<E> {
    fn poll(self: Pin<&mut Self>, record: &mut Record<E>, cx: &mut Context<'_>) -> Poll<()>;
}

type Boxed<'env, E> = Pin<Box<dyn Member<E> + Send + 'env>>;

pin_project! {
    struct Child<F, P> where F: Future {
        id: u64,
        frame: Frame,
        home: Option<Arc<Home>>,
        place: Option<P>,
        ended: Option<F::Output>,
        #[pin]
        body: Option<F>,
    }
    impl<F: Future, P> PinnedDrop for Child<F, P> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.frame.is_entered() {
                here::inside(*this.id, this.home, || {
                    drop(catch_unwind(AssertUnwindSafe(|| this.body.set(None))));
                });
                this.frame.hand_over();
            }
        }
    }
}

impl<F, P, T, E> Member<E> for Child<F, P>
where
    F: Future<Output = Result<T, E>>,
    P: Place<T>,
{
    fn poll(self: Pin<&mut Self>, record: &mut Record<E>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (frame, mut body, ended, place) = (this.frame, this.body, this.ended, this.place);
        let mut panicked = None;
        let has_left = here::inside(*this.id, this.home, || {
            frame.enter();
            if body.is_some() {
                match once(body.as_mut(), cx) {
                    Ok(value) => *ended = value,
                    Err(panic) => panicked = Some(panic),
                }
                if ended.is_none() {
                    let cancelled = place.as_ref().is_some_and(|p| p.is_cancelled(cx.waker()));
                    if panicked.is_none() && !cancelled {
                        frame.has_left(cx);
                        return false;
                    }
                    drop(catch_unwind(AssertUnwindSafe(|| body.set(None))));
                }
            }
            frame.has_left(cx)
        });
        if let Some(panic) = panicked {
            record.panic.get_or_insert(panic);
            if let Some(place) = place.take() {
                place.fill(Err(ChildError::Panicked));
            }
        }
        if !has_left {
            return Poll::Pending;
        }
        frame.leave();
        let outcome = match ended.take() {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => {
                record.errors.push((*this.id, error));
                Err(ChildError::Failed)
            }
            None => Err(ChildError::Cancelled),
        };
        if let Some(place) = place.take() {
            place.fill(outcome);
        }
        Poll::Ready(())
    }
}

/// The members that were woken, and the waker of the group's run.
#[derive(Default)]
struct Ready(Mutex<(SmallVec<[usize; 2]>, Option<Waker>)>);

/// Wakes the member at a place; a place is used again.
struct AtPlace {
    place: usize,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for AtPlace {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::SeqCst) {
            let run = {
                let mut ready = self.ready.0.lock();
                ready.0.push(self.place);
                ready.1.take()
            };
            run.into_iter().for_each(Waker::wake);
        }
    }
}

struct Seat<'env, E> {
    member: Option<Boxed<'env, E>>,
    waker: Waker,
    at_place: Arc<AtPlace>,
}

/// A group whose first failure cancels the rest (R17).
pub struct Group<'env, E> {
    arrivals: Mutex<Arrivals<'env, E>>,
    owner: AtomicU64,
    /// Whether `arrivals` is worth its lock. Only the owner's task spawns and runs, so a plain word is enough.
    has_arrivals: AtomicBool,
    /// The run looks at the arrivals before it returns, so a spawn during its poll does not wake it.
    is_polled: AtomicBool,
    ready: Arc<Ready>,
}

struct Arrivals<'env, E> {
    members: SmallVec<[Boxed<'env, E>; 1]>,
    /// Set under the lock under which a spawn counts (R16).
    is_closed: bool,
}

impl<E> Default for Group<'_, E> {
    fn default() -> Self {
        let arrivals = Mutex::new(Arrivals { members: SmallVec::new(), is_closed: false });
        let (has_arrivals, is_polled) = (AtomicBool::new(false), AtomicBool::new(false));
        let owner = AtomicU64::new(0);
        Group { arrivals, owner, has_arrivals, is_polled, ready: Arc::default() }
    }
}

impl<'env, E> Group<'env, E> {
    /// A child with a handle.
    #[track_caller]
    #[inline]
    pub fn spawn<F, T>(&self, body: F) -> Handle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        let (handle, slot) = Handle::new();
        self.arrive(Location::caller(), slot, body);
        handle
    }

    /// A child without one.
    #[track_caller]
    #[inline]
    pub fn spawn_detached<F, T>(&self, body: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        self.arrive(Location::caller(), Nowhere, body);
    }

    fn arrive<F, T, P>(&self, at: &'static Location<'static>, place: P, body: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        P: Place<T> + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
    {
        let owner = self.owner.load(Ordering::Relaxed);
        assert!(owner == 0 || owner == here::task(), "the wrong task");
        let child: Boxed<'env, E> = Box::pin(Child {
            id: here::number(),
            frame: Frame::new(at),
            home: None,
            place: Some(place),
            ended: None,
            body: Some(body),
        });
        {
            let mut arrivals = self.arrivals.lock();
            assert!(!arrivals.is_closed, "the group is closed");
            arrivals.members.push(child);
        }
        self.has_arrivals.store(true, Ordering::Relaxed);
        if !self.is_polled.load(Ordering::Relaxed) {
            let run = self.ready.0.lock().1.take();
            run.into_iter().for_each(Waker::wake);
        }
    }

    /// Runs `body`, and returns when every child has left.
    #[track_caller]
    pub fn run<F: Future>(&self, body: F) -> GroupRun<'_, 'env, F, E> {
        GroupRun {
            group: self,
            frame: Frame::new(Location::caller()),
            record: Record { errors: Vec::new(), panic: None },
            seats: SmallVec::new(),
            free: Vec::new(),
            members: 0,
            value: None,
            body: Some(body),
        }
    }
}

pin_project! {
    /// A group that runs.
    pub struct GroupRun<'a, 'env, F: Future, E> {
        group: &'a Group<'env, E>,
        frame: Frame,
        record: Record<E>,
        seats: SmallVec<[Seat<'env, E>; 1]>,
        free: Vec<usize>,
        members: usize,
        value: Option<F::Output>,
        #[pin]
        body: Option<F>,
    }
    impl<F: Future, E> PinnedDrop for GroupRun<'_, '_, F, E> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.frame.is_entered() {
                this.body.set(None);
                this.seats.clear();
                this.frame.hand_over();
            }
        }
    }
}

impl<'env, F: Future, E> Future for GroupRun<'_, 'env, F, E> {
    type Output = Result<F::Output, Vec<(u64, E)>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut body, frame, record) = (this.body, this.frame, this.record);
        frame.enter();
        this.group.owner.store(frame.owner(), Ordering::Relaxed);
        this.group.is_polled.store(true, Ordering::Relaxed);
        // Registers, then looks at what was woken. Members before the body, which sees their values in the same poll.
        let waker = cx.waker().clone();
        let (mut woken, old) = {
            let mut ready = this.group.ready.0.lock();
            (mem::take(&mut ready.0), ready.1.replace(waker))
        };
        drop(old);
        for place in woken.drain(..) {
            let seat = &mut this.seats[place];
            seat.at_place.is_queued.store(false, Ordering::Release);
            if let Some(member) = &mut seat.member {
                let polled = member.as_mut().poll(record, &mut Context::from_waker(&seat.waker));
                if polled.is_ready() {
                    let gone = seat.member.take();
                    *this.members -= 1;
                    this.free.push(place);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(gone))) {
                        record.panic.get_or_insert(panic);
                    }
                }
            }
        }
        if body.is_some() {
            match once(body.as_mut(), cx) {
                Ok(value) => *this.value = value,
                Err(panic) => {
                    record.panic.get_or_insert(panic);
                    body.set(None);
                }
            }
        }
        let mut arrived = SmallVec::new();
        if this.group.has_arrivals.load(Ordering::Relaxed) {
            this.group.has_arrivals.store(false, Ordering::Relaxed);
            arrived = mem::take(&mut this.group.arrivals.lock().members);
        }
        for mut member in arrived.drain(..) {
            let place = this.free.pop().unwrap_or(this.seats.len());
            if place == this.seats.len() {
                let ready = Arc::clone(&this.group.ready);
                let at_place =
                    Arc::new(AtPlace { place, is_queued: AtomicBool::new(false), ready });
                let waker = Waker::from(Arc::clone(&at_place));
                this.seats.push(Seat { member: None, waker, at_place });
            }
            let seat = &mut this.seats[place];
            let polled = member.as_mut().poll(record, &mut Context::from_waker(&seat.waker));
            if polled.is_ready() {
                this.free.push(place);
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(member))) {
                    record.panic.get_or_insert(panic);
                }
            } else {
                seat.member = Some(member);
                *this.members += 1;
            }
        }
        if record.panic.is_some() || !record.errors.is_empty() {
            // The siblings and the body are dropped where they are parked; their exits come here.
            body.set(None);
            this.seats.iter_mut().for_each(|seat| drop(seat.member.take()));
            *this.members = 0;
        }
        let has_left = frame.has_left(cx);
        this.group.is_polled.store(false, Ordering::Relaxed);
        if body.is_some() || *this.members > 0 || !has_left {
            return Poll::Pending;
        }
        let is_closed = {
            let mut arrivals = this.group.arrivals.lock();
            arrivals.is_closed = arrivals.members.is_empty();
            arrivals.is_closed
        };
        if !is_closed {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        frame.leave();
        if let Some(panic) = record.panic.take() {
            resume_unwind(panic);
        }
        match this.value.take() {
            Some(value) if record.errors.is_empty() => Poll::Ready(Ok(value)),
            _ => Poll::Ready(Err(mem::take(&mut record.errors))),
        }
    }
}

named!([T] Handle<T>, "Handle");
named!([E] Group<'_, E>, "Group");
named!([F: Future, E] GroupRun<'_, '_, F, E>, "GroupRun");
