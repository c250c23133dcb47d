//! The program on the crate: the state that it shares with its bodies, and the executor that
//! polls it.

#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

mod actor;
mod outside;

use super::reference::Reference;
use super::{Because, End, Event, ExitId, ExitPlan, Kind, Op, Outcome, RegionId, Why};
use actor::{Lent, Place, actor, text, told};
use moored::testing::{MockClock, hand};
use moored::{
    CancelHandle, CancelScope, ChildError, Clock, ExitStack, GroupSpawner, Held, Leaving, Reason,
    Released, Report, TaskHandle, TaskId, task,
};
use outside::Outside;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) struct Real {
    shared: Shared,
    root: Option<BoxFuture<Result<(), String>>>,
    woken: Arc<AtomicBool>,
    bell: Arc<Bell>,
    drains: usize,
    clock: MockClock,
    outside: Outside,
}

/// The executor's waker.
struct Bell {
    woken: Arc<AtomicBool>,
    _drop: CallsBack,
}

impl Bell {
    fn new(woken: &Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Bell { woken: Arc::clone(woken), _drop: CallsBack })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        call_back();
    }
}

/// Makes every request that is allowed, wherever the crate runs user code. Under a lock of the crate this would
/// deadlock (R18).
fn call_back() {
    let program = PROGRAM.try_with(|program| program.borrow().clone()).ok().flatten();
    let Some((shared, wakes)) = program else { return };
    // A waker that is called here calls back as well, so the recursion is cut.
    if CALLS_BACK.replace(true) {
        return;
    }
    let handles = shared.with(|inside| inside.handles.values().cloned().collect::<Vec<_>>());
    for handle in handles {
        let _ = (handle.is_cancelled(), handle.reason());
        let _ = (handle.is_stop_requested(), handle.deadline());
    }
    let children = shared.with(|inside| inside.children.values().cloned().collect::<Vec<_>>());
    for child in children {
        let _ = child.is_finished();
    }
    let stacks = shared.with(|inside| inside.stacks.values().cloned().collect::<Vec<_>>());
    for stack in stacks.iter().filter_map(Weak::upgrade) {
        let _ = stack.len();
    }
    let _ = (moored::is_cancelled(), task::current());
    if wakes {
        let wakers = |inside: &mut Inside| {
            inside.mail.values().filter_map(|mail| mail.waker.clone()).collect::<Vec<_>>()
        };
        shared.with(wakers).into_iter().for_each(Waker::wake);
    }
    CALLS_BACK.set(false);
}

pub(crate) enum CallBack {
    No,
    Asks,
    Wakes,
}

/// Calls back when it is dropped.
struct CallsBack;

impl Drop for CallsBack {
    fn drop(&mut self) {
        call_back();
    }
}

std::thread_local! {
    /// The program that calls back, and whether it wakes bodies when it does.
    static PROGRAM: RefCell<Option<(Shared, bool)>> = const { RefCell::new(None) };
    static CALLS_BACK: Cell<bool> = const { Cell::new(false) };
    /// The reports of the hook. A program runs on one thread from its first step to its last.
    static REPORTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
    /// Failures that scopes have reported because they had no record. A later cancellation reports them again.
    static REPORTED: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// The failure, if the cancelled scope is the first to report it.
fn told_first(failure: &moored::ExitFailure) -> Option<Event> {
    let event = told(failure);
    REPORTED.with_borrow_mut(|reported| match reported.iter().position(|before| *before == event) {
        // Reports of this kind carry no number, so the two cannot be matched.
        Some(_) if event == Event::ToldStillHeld => Some(Event::ToldStillHeldOrAgain),
        Some(at) => {
            reported.swap_remove(at);
            None
        }
        None => Some(event),
    })
}

fn collect_reports() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        moored::set_report_hook(|report| {
            let event = match report {
                Report::LostExits { registered_at, .. } => Event::Lost(registered_at.len()),
                Report::Unrecorded { failure, region, .. } => {
                    let event = told(failure);
                    if region == "cancel scope" {
                        REPORTED.with_borrow_mut(|reported| reported.push(event.clone()));
                    }
                    event
                }
                other => Event::Broken(format!("unexpected report: {other}")),
            };
            REPORTS.with_borrow_mut(|reports| reports.push(event));
            call_back();
        });
    });
    REPORTS.take();
    REPORTED.take();
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    /// The instant of tick 0.
    start: Option<Instant>,
    events: Vec<Event>,
    mail: BTreeMap<RegionId, Mail>,
    handles: BTreeMap<RegionId, CancelHandle>,
    children: BTreeMap<RegionId, Arc<TaskHandle<()>>>,
    /// The region at the root of each task.
    tasks: HashMap<TaskId, RegionId>,
    scopes: BTreeMap<RegionId, Weak<CancelScope>>,
    spawners: BTreeMap<RegionId, GroupSpawner<'static, String>>,
    stacks: BTreeMap<RegionId, Weak<ExitStack>>,
    gates: BTreeMap<ExitId, Gate>,
    held: BTreeMap<ExitId, Held<Lent>>,
    post: BTreeMap<RegionId, Released<ExitStack>>,
}

#[derive(Default)]
struct Mail {
    acts: VecDeque<Act>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    waker: Option<Waker>,
}

/// A command to an actor.
enum Act {
    Enter(RegionId, Kind),
    /// In the actor's own stack, or in one of its loose stacks.
    Defer(RegionId, ExitId, ExitPlan),
    Hold(RegionId, ExitId, ExitPlan),
    Leave(RegionId, End),
    Drop(RegionId),
    Spawn(RegionId),
    Detach(RegionId),
    Close(RegionId),
    Look,
    Release(RegionId),
    Adopt(RegionId),
    Discard(RegionId),
}

impl Shared {
    fn with<R>(&self, look: impl FnOnce(&mut Inside) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    fn event(&self, event: Event) {
        // After the reports made meanwhile, so that events keep the order in which they
        // happened.
        let reports = REPORTS.take();
        self.with(|inside| {
            inside.events.extend(reports);
            inside.events.push(event);
        });
    }

    fn send(&self, actor: RegionId, act: Act) {
        let waker = self.with(|inside| {
            let mail = inside.mail.entry(actor).or_default();
            mail.acts.push_back(act);
            mail.waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }

    /// Cloned, so that the handle is not used under the lock of the test.
    fn handle(&self, region: RegionId) -> Option<CancelHandle> {
        self.with(|inside| inside.handles.get(&region).cloned())
    }

    fn root_of(&self, task: &TaskId) -> RegionId {
        self.with(|inside| inside.tasks[task])
    }

    fn why(&self, reason: &Reason) -> Why {
        let request = reason.message().map(|number| number.parse().expect("a number"));
        let by = reason.task().map(|task| self.root_of(task));
        Why { kind: reason.kind(), request, by }
    }

    fn tick(&self, at: Instant) -> usize {
        let start = self.with(|inside| inside.start).expect("set at the start");
        (at - start).as_secs() as usize / actor::GRACE.as_secs() as usize
    }

    fn because(&self, why: &Leaving) -> Because {
        match why {
            Leaving::Completed => Because::Completed,
            Leaving::Failed => Because::Failed,
            Leaving::Cancelled(reason) => Because::Cancelled(self.why(reason)),
            Leaving::Panicked => Because::Panicked,
            _ => Because::Abandoned,
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // Taken out before it is dropped, because its drop calls back and reads the slot.
        drop(PROGRAM.take());
    }
}

impl Real {
    /// With `calls_back`, the program makes requests wherever the crate calls user code (R18).
    pub(crate) fn new(calls_back: CallBack) -> Self {
        collect_reports();
        let shared = Shared::default();
        PROGRAM.set(match calls_back {
            CallBack::No => None,
            CallBack::Asks => Some((shared.clone(), false)),
            CallBack::Wakes => Some((shared.clone(), true)),
        });
        let clock = MockClock::new();
        shared.with(|inside| inside.start = Some(clock.now()));
        let root = Box::pin(task(actor(shared.clone(), 0, Place::Plain)).clock(clock.clone()));
        let woken = Arc::new(AtomicBool::new(true));
        let bell = Bell::new(&woken);
        let outside = Outside::default();
        Real { shared, root: Some(root), woken, bell, drains: 0, clock, outside }
    }

    pub(crate) fn apply(&mut self, op: Op, reference: &Reference) {
        // A loose stack has no actor: that of the body around it acts.
        let actor = |region| reference.actor_of(region);
        match op {
            Op::Enter(region, kind) => {
                self.shared.send(region, Act::Enter(reference.newest_region(), kind));
            }
            Op::Spawn(region) => self.shared.send(region, Act::Spawn(reference.newest_region())),
            Op::Detach(region) => self.shared.send(region, Act::Detach(reference.newest_region())),
            Op::Defer(region, plan) => {
                let act = Act::Defer(region, reference.newest_exit(), plan);
                self.shared.send(actor(region), act);
            }
            Op::Hold(region, plan) => {
                let act = Act::Hold(region, reference.newest_exit(), plan);
                self.shared.send(actor(region), act);
            }
            Op::PutBack(exit) => drop(self.shared.with(|inside| inside.held.remove(&exit))),
            Op::Cancel(region) => {
                let number = reference.newest_request().to_string();
                let handle = self.shared.handle(region);
                handle.iter().for_each(|handle| handle.cancel_because(number.clone()));
                let child = self.shared.with(|inside| inside.children.get(&region).cloned());
                child.iter().for_each(|child| child.cancel());
            }
            Op::Expire(region) => self.set_deadline(region, self.clock.now()),
            Op::Due(region) => self.set_deadline(region, self.clock.now() + actor::GRACE),
            Op::Trespass(region) => self.trespass(region),
            Op::Stop(region, grace) => self.stop(region, grace),
            Op::Ask(region) => {
                let handle =
                    self.shared.handle(region).expect("the reference picks a region with a handle");
                self.ask(region, &handle);
            }
            Op::Await(region, until) => {
                let handle =
                    self.shared.handle(region).expect("the reference picks a region with a handle");
                self.wait_until(&handle, until);
            }
            Op::Guard(region) => self.guard(region),
            Op::Unguard(region) => self.outside.unguard(region),
            Op::ByGuard(region, uses) => self.by_guard(region, uses, reference),
            Op::Push(region) => self.push(region, reference.newest_region()),
            Op::Wait => self.clock.advance(actor::GRACE),
            Op::Look(region) => self.shared.send(region, Act::Look),
            Op::Release(region) => self.shared.send(actor(region), Act::Release(region)),
            Op::Adopt(region, stack) => self.shared.send(region, Act::Adopt(stack)),
            Op::Discard(region, stack) => self.shared.send(region, Act::Discard(stack)),
            Op::Mislay(stack) => drop(self.shared.with(|inside| inside.post.remove(&stack))),
            Op::Leave(region, end) => self.shared.send(region, Act::Leave(region, end)),
            Op::Drop(region) => self.shared.send(reference.around(region), Act::Drop(region)),
            Op::Close(region) => self.shared.send(actor(region), Act::Close(region)),
            Op::Open(exit) => {
                let waker = self.shared.with(|inside| {
                    let gate = inside.gates.entry(exit).or_default();
                    gate.open = true;
                    gate.waker.take()
                });
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    pub(crate) fn drop_root(&mut self) {
        self.root = None;
        // Outside every task.
        drop(self.shared.with(|inside| std::mem::take(&mut inside.post)));
        self.outside.drop_guards();
    }

    /// The results of the children, from their handles.
    pub(crate) fn join_children(&mut self) {
        let children = self.shared.with(|inside| std::mem::take(&mut inside.children));
        for (region, child) in children {
            let child = Arc::into_inner(child).expect("nobody else keeps it");
            let outcome = match hand(child.join()).ready() {
                Ok(()) => Outcome::Fine,
                Err(ChildError::Failed(_)) => Outcome::Failed,
                Err(ChildError::Cancelled(reason)) => Outcome::Cancelled(self.shared.why(&reason)),
                Err(ChildError::Panicked) => Outcome::Panicked,
                Err(other) => panic!("the model does not know {other}"),
            };
            self.shared.event(Event::Returned(region, outcome));
        }
    }

    /// Polls as an executor would, only while it is woken. The waker is changed from time to time.
    pub(crate) fn drain(&mut self) -> Vec<Event> {
        let mut polls = 0;
        self.drains = (self.drains + 1) % 4;
        if self.drains == 0 {
            self.bell = Bell::new(&self.woken);
        }
        // A wait outside may see a time that has come before the program does, or after it.
        if self.drains & 1 == 0 {
            self.poll_waits();
        }
        loop {
            if !self.woken.swap(false, Ordering::SeqCst) {
                if self.poll_waits() {
                    continue;
                }
                break;
            }
            let Some(root) = &mut self.root else { continue };
            let waker = Waker::from(Arc::clone(&self.bell));
            let mut cx = Context::from_waker(&waker);
            let outcome = match catch_unwind(AssertUnwindSafe(|| root.as_mut().poll(&mut cx))) {
                Ok(Poll::Pending) => {
                    polls += 1;
                    assert!(polls < 10_000, "woken for ever");
                    continue;
                }
                Ok(Poll::Ready(Ok(()))) => Outcome::Fine,
                Ok(Poll::Ready(Err(error))) => {
                    self.shared.event(Event::Told(error));
                    Outcome::Failed
                }
                Err(payload) => {
                    self.shared.event(Event::Told(text(&payload)));
                    Outcome::Panicked
                }
            };
            self.shared.event(Event::Returned(0, outcome));
            self.root = None;
        }
        let mut events = self.shared.with(|inside| std::mem::take(&mut inside.events));
        events.extend(REPORTS.take());
        events
    }
}
