//! The program on the crate: every body is an actor that does what arrives in its mailbox.

#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

use super::reference::Reference;
use super::{Because, End, Event, ExitId, ExitPlan, Kind, Op, Outcome, RegionId, Why};
use moored::testing::{MockClock, hand};
use moored::{
    CancelHandle, CancelScope, Cause, ChildError, Clock, ExitFailure, ExitStack, Failure, Held,
    Leaving, Misuse, Reason, Released, Report, TaskGroup, TaskHandle, TaskId, task,
};
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, Weak};
use std::task::{Context, Poll, Wake, Waker};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) struct Real {
    shared: Shared,
    root: Option<BoxFuture<Result<(), String>>>,
    woken: Arc<Woken>,
    clock: MockClock,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

std::thread_local! {
    /// Where the hook's reports go: a program runs on one thread from its first step to its last.
    static REPORTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

fn collect_reports() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        moored::set_report_hook(|report| {
            let event = match report {
                Report::LostExits { registered_at, .. } => Event::Lost(registered_at.len()),
                Report::Unrecorded { failure, .. } => told(failure),
                other => Event::Broken(format!("unexpected report: {other}")),
            };
            REPORTS.with_borrow_mut(|reports| reports.push(event));
        });
    });
    REPORTS.take();
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    events: Vec<Event>,
    mail: BTreeMap<RegionId, Mail>,
    handles: BTreeMap<RegionId, CancelHandle>,
    children: BTreeMap<RegionId, Arc<TaskHandle<()>>>,
    /// The region at the root of each task.
    tasks: HashMap<TaskId, RegionId>,
    scopes: BTreeMap<RegionId, Weak<CancelScope>>,
    stacks: BTreeMap<RegionId, Weak<ExitStack>>,
    gates: BTreeMap<ExitId, Gate>,
    held: BTreeMap<ExitId, Held<ExitId>>,
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

/// What an actor is told to do.
enum Act {
    Enter(RegionId, Kind),
    /// In the actor's own stack, or in a loose one of its.
    Defer(RegionId, ExitId, ExitPlan),
    Hold(RegionId, ExitId, ExitPlan),
    Leave(RegionId, End),
    Drop(RegionId),
    Spawn(RegionId),
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
        // Behind what was reported meanwhile, so that the order is the one in which it happened.
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

    /// Copied out, so that nobody asks it under our lock.
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

impl Real {
    pub(crate) fn new() -> Self {
        collect_reports();
        let shared = Shared::default();
        let clock = MockClock::new();
        let root = Box::pin(task(actor(shared.clone(), 0, Place::Plain)).clock(clock.clone()));
        Real { shared, root: Some(root), woken: Arc::new(Woken(AtomicBool::new(true))), clock }
    }

    pub(crate) fn apply(&mut self, op: Op, reference: &Reference) {
        // A loose stack has no actor of its own.
        let actor = |region| reference.actor_of(region);
        match op {
            Op::Enter(region, kind) => {
                self.shared.send(region, Act::Enter(reference.newest_region(), kind));
            }
            Op::Spawn(region) => self.shared.send(region, Act::Spawn(reference.newest_region())),
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
            Op::Expire(region) => {
                let scope = self.shared.with(|inside| inside.scopes.get(&region).cloned());
                if let Some(scope) = scope.and_then(|scope| scope.upgrade()) {
                    scope.set_deadline(self.clock.now());
                }
            }
            Op::Trespass(region) => {
                let stack = self.shared.with(|inside| inside.stacks.get(&region).cloned());
                if let Some(stack) = stack.and_then(|stack| stack.upgrade()) {
                    self.trespass(region, &stack);
                }
            }
            Op::Stop(region) => {
                self.shared.handle(region).iter().for_each(CancelHandle::stop);
            }
            Op::Look(region) => self.shared.send(region, Act::Look),
            Op::Release(region) => self.shared.send(actor(region), Act::Release(region)),
            Op::Adopt(region, stack) => self.shared.send(region, Act::Adopt(stack)),
            Op::Discard(region, stack) => self.shared.send(region, Act::Discard(stack)),
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

    /// R2: what another task registers is handed back, and nothing has happened.
    fn trespass(&self, region: RegionId, stack: &ExitStack) {
        let shared = self.shared.clone();
        let exit =
            async move { shared.event(Event::Broken(format!("{region} ran what was rejected"))) };
        let registered = hand(task(async { stack.try_defer(exit) })).ready();
        match registered {
            Err(rejected) if matches!(rejected.error(), Misuse::WrongTask(_)) => {}
            _ => self.shared.event(Event::Broken(format!("region {region} took a foreign exit"))),
        }
    }

    pub(crate) fn drop_root(&mut self) {
        self.root = None;
        // Outside every task.
        drop(self.shared.with(|inside| std::mem::take(&mut inside.post)));
    }

    /// What the handles of the children tell.
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

    /// Polls as an executor would: only while it is woken.
    pub(crate) fn drain(&mut self) -> Vec<Event> {
        let mut polls = 0;
        while self.woken.0.swap(false, Ordering::SeqCst) {
            let Some(root) = &mut self.root else { break };
            let waker = Waker::from(Arc::clone(&self.woken));
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

/// Where an actor is: what it may register in or spawn into.
enum Place<'a> {
    Plain,
    Stack(&'a Arc<ExitStack>),
    Group(&'a TaskGroup<'static, String>),
}

struct BodyGone(Shared, RegionId);

impl Drop for BodyGone {
    fn drop(&mut self) {
        self.0.event(Event::BodyGone(self.1));
    }
}

/// A body: does what it is told, and polls what it has entered side by side, as `join!` would.
async fn actor(shared: Shared, me: RegionId, place: Place<'_>) -> Result<(), String> {
    let _gone = BodyGone(shared.clone(), me);
    let mut arms: Vec<(RegionId, BoxFuture<()>)> = Vec::new();
    let mut loose: BTreeMap<RegionId, ExitStack> = BTreeMap::new();
    std::future::poll_fn(move |cx| {
        if let Some(id) = task::current() {
            // The first one polled in a task is its root.
            shared.with(|inside| *inside.tasks.entry(id).or_insert(me));
        }
        loop {
            let act = shared.with(|inside| {
                let mail = inside.mail.entry(me).or_default();
                let act = mail.acts.pop_front();
                if act.is_none() {
                    mail.waker = Some(cx.waker().clone());
                }
                act
            });
            match act {
                None => break,
                Some(Act::Enter(region, Kind::Loose)) => {
                    loose.insert(region, ExitStack::new());
                }
                Some(Act::Enter(region, kind)) => {
                    arms.push((region, arm(shared.clone(), region, kind)));
                }
                Some(Act::Defer(region, exit, plan)) => match (&place, loose.get(&region)) {
                    (_, Some(stack)) => {
                        stack.defer_with(run_exit(shared.clone(), exit, plan, None));
                    }
                    (Place::Stack(stack), None) => {
                        let home = Arc::downgrade(stack);
                        stack.defer_with(run_exit(shared.clone(), exit, plan, Some(home)));
                    }
                    _ => unreachable!("the reference asks stacks only"),
                },
                Some(Act::Hold(region, exit, plan)) => {
                    let stack = match (&place, loose.get(&region)) {
                        (_, Some(stack)) => stack,
                        (Place::Stack(stack), None) => stack.as_ref(),
                        _ => unreachable!("the reference asks stacks only"),
                    };
                    let plan = ExitPlan { then: false, ..plan };
                    let runs = run_exit(shared.clone(), exit, plan, None);
                    let held = stack.hold_with(exit, move |_, why| runs(why));
                    shared.with(|inside| inside.held.insert(exit, held));
                }
                Some(Act::Leave(_, End::Fine)) => return Poll::Ready(Ok(())),
                Some(Act::Leave(region, End::Error)) => {
                    return Poll::Ready(Err(format!("body {region}")));
                }
                // Not `panic!`: nobody has to read it.
                Some(Act::Leave(region, End::Panic)) => {
                    resume_unwind(Box::new(format!("body {region}")))
                }
                Some(Act::Drop(region)) => {
                    drop(loose.remove(&region));
                    if let Some(at) = arms.iter().position(|(arm, _)| *arm == region) {
                        drop(arms.remove(at));
                    }
                }
                Some(Act::Spawn(region)) => {
                    let Place::Group(group) = &place else { unreachable!("groups spawn") };
                    let child = group.spawn(child(shared.clone(), region));
                    shared.with(|inside| inside.children.insert(region, Arc::new(child)));
                }
                Some(Act::Close(region)) => {
                    if let Some(stack) = loose.remove(&region) {
                        arms.push((region, close(shared.clone(), region, stack)));
                    }
                }
                Some(Act::Release(region)) => match loose.remove(&region).map(ExitStack::release) {
                    Some(Ok(released)) => {
                        shared.with(|inside| inside.post.insert(region, released));
                    }
                    refused => shared.event(Event::Broken(format!("{refused:?}"))),
                },
                Some(Act::Adopt(region)) => {
                    let stack = shared.with(|inside| inside.post.remove(&region));
                    loose.extend(stack.map(|stack| (region, stack.adopt())));
                }
                Some(Act::Discard(region)) => {
                    drop(shared.with(|inside| inside.post.remove(&region)));
                }
                Some(Act::Look) => {
                    let reason = shared.handle(me).map(|handle| handle.reason());
                    let why = reason.map(|reason| reason.map(|reason| shared.why(&reason)));
                    shared.event(Event::Saw(me, moored::is_cancelled(), why));
                }
            }
        }
        arms.retain_mut(|(_, arm)| arm.as_mut().poll(cx).is_pending());
        Poll::Pending
    })
    .await
}

/// Boxed, because the body of a child may have children.
fn child(shared: Shared, region: RegionId) -> BoxFuture<Result<(), String>> {
    Box::pin(actor(shared, region, Place::Plain))
}

/// A region from its entering to its end, with what it returned told.
fn arm(shared: Shared, region: RegionId, kind: Kind) -> BoxFuture<()> {
    Box::pin(async move {
        let outcome = match kind {
            Kind::Scope | Kind::Shield => {
                let scope = CancelScope::new();
                let shields = kind == Kind::Shield;
                let scope = Arc::new(if shields { scope.shielded() } else { scope });
                shared.with(|inside| {
                    inside.handles.insert(region, scope.handle());
                    inside.scopes.insert(region, Arc::downgrade(&scope));
                });
                match caught(scope.run(actor(shared.clone(), region, Place::Plain))).await {
                    Ok(Ok(Ok(()))) => Outcome::Fine,
                    Ok(Ok(Err(error))) => {
                        shared.event(Event::Told(error));
                        Outcome::Failed
                    }
                    Ok(Err(cancelled)) => {
                        cancelled.failures().iter().for_each(|f| shared.event(told(f)));
                        Outcome::Cancelled(shared.why(cancelled.reason()))
                    }
                    Err(panic) => panicked(&shared, panic),
                }
            }
            Kind::Stack => {
                let stack = Arc::new(ExitStack::new());
                shared.with(|inside| inside.stacks.insert(region, Arc::downgrade(&stack)));
                let body = actor(shared.clone(), region, Place::Stack(&stack));
                match caught(stack.run(body)).await {
                    Ok(result) => failure(&shared, result.err().as_ref()),
                    Err(panic) => panicked(&shared, panic),
                }
            }
            Kind::Group => {
                let group = TaskGroup::new();
                shared.with(|inside| inside.handles.insert(region, group.handle()));
                let body = actor(shared.clone(), region, Place::Group(&group));
                match caught(group.run(body)).await {
                    Ok(result) => failure(&shared, result.err().as_ref()),
                    Err(panic) => panicked(&shared, panic),
                }
            }
            Kind::Root | Kind::Loose | Kind::Child => unreachable!("not run by a body"),
        };
        shared.event(Event::Returned(region, outcome));
    })
}

fn close(shared: Shared, region: RegionId, stack: ExitStack) -> BoxFuture<()> {
    Box::pin(async move {
        let outcome = match caught(stack.close()).await {
            Ok(Ok(())) => Outcome::Fine,
            Ok(Err(error)) => match error.failure() {
                Some(found) => failure(&shared, Some(found)),
                None => {
                    shared.event(Event::Broken(error.to_string()));
                    Outcome::Failed
                }
            },
            Err(panic) => panicked(&shared, panic),
        };
        shared.event(Event::Returned(region, outcome));
    })
}

fn panicked(shared: &Shared, payload: Box<dyn Any + Send>) -> Outcome {
    shared.event(Event::Told(text(&payload)));
    Outcome::Panicked
}

fn text(payload: &Box<dyn Any + Send>) -> String {
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "a panic of the crate itself".to_owned(),
    }
}

fn failure<E: ToString>(shared: &Shared, failure: Option<&Failure<E>>) -> Outcome {
    let Some(failure) = failure else { return Outcome::Fine };
    for cause in failure.causes() {
        match cause {
            Cause::Body(error) | Cause::Child { error, .. } => {
                shared.event(Event::Told(error.to_string()));
            }
            Cause::Exit(failure) => shared.event(told(failure)),
            Cause::Cancelled(_) => {}
            other => shared.event(Event::Broken(other_cause(other))),
        }
    }
    match failure.cause() {
        Cause::Body(_) | Cause::Child { .. } => Outcome::Failed,
        Cause::Cancelled(reason) => Outcome::Cancelled(shared.why(reason)),
        _ => Outcome::ExitsFailed,
    }
}

fn other_cause<E: ToString>(cause: &Cause<E>) -> String {
    match cause {
        Cause::Rejected(wrong) => wrong.to_string(),
        _ => "a cause that the model does not know".to_owned(),
    }
}

fn told(failure: &ExitFailure) -> Event {
    match failure {
        ExitFailure::Failed { error, .. } => Event::Told(error.to_string()),
        ExitFailure::Panicked { message, .. } => Event::Told(message.clone()),
        ExitFailure::StillHeld { .. } => Event::ToldStillHeld,
        ExitFailure::Unclaimed { .. } => Event::ToldUnclaimed,
        other => Event::Broken(other.to_string()),
    }
}

/// Turns a panic of `future` into a value, as a `catch_unwind` of a user would.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await
}

fn run_exit(
    shared: Shared,
    exit: ExitId,
    plan: ExitPlan,
    stack: Option<Weak<ExitStack>>,
) -> impl FnOnce(Leaving) -> BoxFuture<Result<(), String>> + Send + 'static {
    move |why| {
        Box::pin(async move {
            let by = task::current().map(|task| shared.root_of(&task));
            shared.event(Event::ExitBegan(exit, shared.because(&why), by));
            if plan.gated {
                let shared = shared.clone();
                std::future::poll_fn(move |cx| {
                    shared.with(|inside| {
                        let gate = inside.gates.entry(exit).or_default();
                        if gate.open {
                            return Poll::Ready(());
                        }
                        gate.waker = Some(cx.waker().clone());
                        Poll::Pending
                    })
                })
                .await;
            }
            if let (true, Some(stack)) = (plan.then, stack) {
                follow(&shared, exit, stack.upgrade());
            }
            shared.event(Event::ExitEnded(exit));
            match plan.end {
                End::Fine => Ok(()),
                End::Error => Err(format!("exit {exit}")),
                End::Panic => resume_unwind(Box::new(format!("exit {exit}"))),
            }
        })
    }
}

/// What `exit` registers while it runs; numbered apart from what operations register.
fn follow(shared: &Shared, exit: ExitId, stack: Option<Arc<ExitStack>>) {
    let next = exit + Reference::FOLLOWERS;
    let plan = ExitPlan { end: End::Fine, gated: false, then: false };
    let registered = stack.is_some_and(|stack| {
        stack.try_defer_with(run_exit(shared.clone(), next, plan, None)).is_ok()
    });
    shared.event(Event::Followed(exit, registered.then_some(next)));
}
