//! The user code of the program: bodies that obey the commands in their mailboxes, and exits that wait
//! for their gates.

use super::{Act, BoxFuture, CallsBack, Shared, call_back, told_first};
use crate::model::reference::Reference;
use crate::model::{Answers, End, Event, ExitId, ExitPlan, Kind, Outcome, RegionId, Why};
use moored::{
    CancelScope, Cause, ExitFailure, ExitStack, Failure, Leaving, ReasonKind, TaskGroup,
    move_on_after, task,
};
use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The region of an actor, in which it may register exits or spawn children.
pub(super) enum Place<'a> {
    Plain,
    Stack(&'a Arc<ExitStack>),
    Group(&'a TaskGroup<'static, String>),
}

struct BodyGone(Shared, RegionId);

impl Drop for BodyGone {
    fn drop(&mut self) {
        self.0.event(Event::BodyGone(self.1));
        call_back();
    }
}

/// A value that is lent out.
pub(super) struct Lent(CallsBack);

/// A body: obeys its commands, and polls the regions that it has entered side by side, as
/// `join!` would.
pub(super) async fn actor(shared: Shared, me: RegionId, place: Place<'_>) -> Result<(), String> {
    let _gone = BodyGone(shared.clone(), me);
    let mut arms: Vec<(RegionId, BoxFuture<()>)> = Vec::new();
    let mut loose: BTreeMap<RegionId, ExitStack> = BTreeMap::new();
    std::future::poll_fn(move |cx| {
        if let Some(id) = task::current() {
            // The first actor that is polled in a task is the root of that task.
            shared.with(|inside| *inside.tasks.entry(id).or_insert(me));
        }
        loop {
            let (act, old) = shared.with(|inside| {
                let mail = inside.mail.entry(me).or_default();
                match mail.acts.pop_front() {
                    None => (None, mail.waker.replace(cx.waker().clone())),
                    act => (act, None),
                }
            });
            drop(old);
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
                    let held = stack.hold_with(Lent(CallsBack), move |_, why| runs(why));
                    shared.with(|inside| inside.held.insert(exit, held));
                }
                Some(Act::Leave(_, End::Fine)) => return Poll::Ready(Ok(())),
                Some(Act::Leave(region, End::Error)) => {
                    return Poll::Ready(Err(format!("body {region}")));
                }
                // Not `panic!`, because `resume_unwind` prints no message.
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
                Some(Act::Detach(region)) => {
                    let Place::Group(group) = &place else { unreachable!("groups spawn") };
                    group.spawn_detached(child(shared.clone(), region));
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
                    let answers = Answers {
                        cancelled: moored::is_cancelled(),
                        why: reason.map(|reason| reason.map(|reason| shared.why(&reason))),
                        stopped: moored::is_stop_requested(),
                        deadline: moored::current_deadline().map(|at| shared.tick(at)),
                    };
                    shared.event(Event::Saw(me, answers));
                }
            }
        }
        arms.retain_mut(|(_, arm)| arm.as_mut().poll(cx).is_pending());
        Poll::Pending
    })
    .await
}

/// Boxed, because the body of a child may have children.
pub(super) fn child(shared: Shared, region: RegionId) -> BoxFuture<Result<(), String>> {
    Box::pin(actor(shared, region, Place::Plain))
}

/// A region from its entry to its end. Its result is recorded as an event.
fn arm(shared: Shared, region: RegionId, kind: Kind) -> BoxFuture<()> {
    Box::pin(async move {
        let outcome = match kind {
            Kind::Scope | Kind::Shield | Kind::Brief => {
                let scope = Arc::new(match kind {
                    Kind::Shield => CancelScope::new().shielded(),
                    Kind::Brief => CancelScope::new().shielded().grace(GRACE),
                    _ => CancelScope::new(),
                });
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
                        let told = cancelled.failures().iter().filter_map(told_first);
                        told.for_each(|told| shared.event(told));
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
            Kind::Timed => {
                let body = actor(shared.clone(), region, Place::Plain);
                match caught(move_on_after(GRACE, body)).await {
                    Ok(Some(Ok(()))) => Outcome::Fine,
                    Ok(Some(Err(error))) => {
                        shared.event(Event::Told(error));
                        Outcome::Failed
                    }
                    // Only its own deadline cancels it.
                    Ok(None) => Outcome::Cancelled(Why {
                        kind: ReasonKind::Deadline,
                        request: None,
                        by: None,
                    }),
                    Err(panic) => panicked(&shared, panic),
                }
            }
            Kind::Group | Kind::KeepsGoing => {
                let group = match kind {
                    Kind::KeepsGoing => TaskGroup::new().keep_going(),
                    _ => TaskGroup::new(),
                };
                shared.with(|inside| inside.handles.insert(region, group.handle()));
                shared.with(|inside| inside.spawners.insert(region, group.spawner()));
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

pub(super) fn text(payload: &Box<dyn Any + Send>) -> String {
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

pub(super) fn told(failure: &ExitFailure) -> Event {
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
    let calls_back = CallsBack;
    move |why| {
        call_back();
        Box::pin(async move {
            let _calls_back = calls_back;
            let by = task::current().map(|task| shared.root_of(&task));
            shared.event(Event::ExitBegan(exit, shared.because(&why), by));
            if plan.gated {
                let shared = shared.clone();
                std::future::poll_fn(move |cx| {
                    let (open, old) = shared.with(|inside| {
                        let gate = inside.gates.entry(exit).or_default();
                        (gate.open, gate.waker.replace(cx.waker().clone()))
                    });
                    drop(old);
                    if open { Poll::Ready(()) } else { Poll::Pending }
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

/// `exit` registers another exit while it runs. Its number is apart from those of operations.
fn follow(shared: &Shared, exit: ExitId, stack: Option<Arc<ExitStack>>) {
    let next = exit + Reference::FOLLOWERS;
    let plan = ExitPlan { end: End::Fine, gated: false, then: false };
    let registered = stack.is_some_and(|stack| {
        stack.try_defer_with(run_exit(shared.clone(), next, plan, None)).is_ok()
    });
    shared.event(Event::Followed(exit, registered.then_some(next)));
}
