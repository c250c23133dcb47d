//! One start of a server: connected, served until it is lost or was asked to leave, and left.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moored::{Cause, ExitFailure, ExitStack, Failure, TaskGroup};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::attempt::{Context, Held};
use super::leaving::Leaving;
use super::naming::{Claim, Conflict, Named};
use super::pump::Pumps;
use super::restarting::Comebacks;
use super::{Connection, Listing, Live, Session, Shared, Stage, Turn};
use super::{connecting, listening, refreshing, reporting};
use crate::component::ComponentKind;
use crate::duration::millis;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::report::{LeaveReport, Outcome, SessionInfo};
use crate::wire::{Link, Offer};

/// The progress of a session.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Set once it is up; of the last start that came up.
    pub(super) info: Option<SessionInfo>,
    /// Whether this start came up.
    pub(super) is_up: bool,
    /// The session as its users saw it, if it is left while its group closes.
    live: Option<Arc<Live>>,
    pub(super) comebacks: Comebacks,
    pub(super) held: Option<Held>,
    /// The names of its components, until they are withdrawn.
    pub(super) claim: Option<Claim>,
    /// The lists that could not be read, of the last start whose lists were read.
    pub(super) broken_lists: BTreeMap<ComponentKind, Fault>,
    /// The beginning of the attempt.
    pub(super) began: Option<Instant>,
    /// Given back with the outcome of the attempt.
    pub(super) turn: Option<Turn>,
    /// The end of the attempt.
    pub(super) deadline: Option<Instant>,
    /// Set if the server is to be started again: the end of its process, or its rejection.
    pub(super) again: Option<String>,
    /// The same of its first process, once the second one is there.
    pub(super) failed_on_probe: Option<String>,
}

impl Life {
    /// Whether the server will be started again, now that a start of it has ended by `fault`.
    pub(super) fn comes_back(&self, session: &Session, shared: &Shared, fault: &Fault) -> bool {
        self.info.is_some()
            && !session.watch.is_asked_to_leave()
            && !shared.is_draining()
            && self.comebacks.follow(session, fault)
    }

    /// The first list that could not be read.
    pub(super) fn list_fault(&self) -> Option<&Fault> {
        self.broken_lists.values().next()
    }

    /// The part that is only memory: the child's process group is dropped here.
    pub(super) fn spent(mut self) -> Box<Self> {
        if let Some(held) = &mut self.held {
            held.process = None;
        }
        Box::new(self)
    }

    /// The names of its components are free again. In a group that closes no other session wants them, and they are
    /// freed later.
    pub(super) fn withdraw(&mut self, shared: &Shared) {
        if !shared.is_closing() {
            self.claim = None;
        }
    }
}

/// The outcome of one start of a server.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) fault: Option<Fault>,
    pub(super) leave: LeaveReport,
}

/// Starts a server and leaves it: a group for its pumps, inside it a stack for its exits, inside that the session itself.
/// All failures are in one record, the session's own failure first.
pub(super) async fn start(session: &Arc<Session>, shared: &Arc<Shared>, life: &mut Life) -> Left {
    let leaving = Leaving::default();
    let (orders, _entered) = session.watch.of_start(&session.name);
    let pumps: Pumps = TaskGroup::new().named(format!("pumps of {}", session.name)).keep_going();
    let stack = ExitStack::new().named(format!("session {}", session.name));
    session.starts.fetch_add(1, Ordering::Relaxed);
    life.is_up = false;
    let left = pumps.run(async {
        let context = Context {
            session,
            shared,
            leaving: &leaving,
            orders: &orders,
            stack: &stack,
            pumps: &pumps,
        };
        let left = stack.run(async {
            let ended = live(context, life).await;
            leaving.begin();
            if life.again.is_none() {
                begin_leaving(context, life, ended.as_ref().err());
            }
            ended
        });
        Ok(left.await)
    });
    let (fault, suppressed) = match left.await {
        Ok(Ok(())) => (None, Vec::new()),
        Ok(Err(failure)) => sorted(failure),
        // The pumps return no errors, and their group is cancelled only by the end of the runtime.
        Err(failure) => (None, vec![failure.to_string()]),
    };
    let leave = leaving.report(life.is_up, suppressed);
    Left { fault, leave }
}

/// The session's own failure, and the failures while leaving, in order.
fn sorted(failure: Failure<Fault>) -> (Option<Fault>, Vec<String>) {
    let mut fault = None;
    let mut suppressed = Vec::new();
    for cause in failure.into_causes() {
        match cause {
            Cause::Body(own) => fault = Some(own),
            Cause::Exit(ExitFailure::Failed { error, .. }) => suppressed.push(error.to_string()),
            other => suppressed.push(other.to_string()),
        }
    }
    (fault, suppressed)
}

/// Connects and serves. `Ok` is a session that came up and was asked to leave.
///
/// Boxed, because it is large, and each region around it would move it; and by a function that is not async, because a
/// future in a variable of an async function may keep its room in that function until the end.
fn live<'a>(context: Context<'a>, life: &'a mut Life) -> BoxFuture<'a, Result<(), Fault>> {
    come_up_and_serve(context, life).boxed()
}

async fn come_up_and_serve(context: Context<'_>, life: &mut Life) -> Result<(), Fault> {
    let Context { session, shared, .. } = context;
    let attempted = connecting::in_time(context, life).await;
    if let (Some(how), Err(_)) = (&life.again, &attempted) {
        let message = how.clone();
        session.tell(shared, || EventKind::StartedAgain { message });
    } else {
        // The clock of the session is that of its first attempt.
        session.clock.lock().outcome.get_or_insert_with(Instant::now);
        life.turn = None;
    }
    let (held, link, offers) = attempted?;
    held.recorder.connected();
    life.broken_lists = offers.broken;
    let listing = list(context, life, &held, offers.all)?;
    let (opened, arrivals) = mpsc::unbounded_channel();
    let (given_up, to_cancel) = mpsc::unbounded_channel();
    let caller = link.caller((opened, given_up), session.log_level.clone());
    let pending = held.side.pending.clone();
    let connection = Connection { caller: caller.clone(), pending, ended_by: OnceLock::new() };
    // Taken before users can subscribe on this connection.
    let before = session.subscribed.borrow().clone();
    let info = come_up(session, &link, connection, listing, life)?;
    session.tell(shared, || EventKind::Up(Box::new(info)));
    let Life { claim: Some(claim), broken_lists, .. } = life else {
        unreachable!("it was taken with the listing")
    };
    let lists = (claim, broken_lists);
    tokio::select! {
        biased;
        () = context.orders.asked_to_leave() => Ok(()),
        fault = held.lost() => Err(fault),
        never = Box::pin(refreshing::keep_lists(context, &held, &link, lists)) => match never {},
        never = refreshing::pass_updates_on(context, &held) => match never {},
        never = Box::pin(link.cancel(to_cancel)) => match never {},
        never = Box::pin(listening::listen(context, &held, &caller, arrivals, before)) => match never {},
    }
}

/// Gives the components their hooked names. A server comes up with all of its names or not at all. A server that is started
/// again leaves those out that another server has taken meanwhile.
fn list(
    context: Context<'_>,
    life: &mut Life,
    held: &Held,
    offers: Vec<Offer>,
) -> Result<Listing, Fault> {
    let Context { session, shared, .. } = context;
    let is_first = life.info.is_none();
    let named = Named::of(&shared.options.names, &session.name, offers);
    named.warnings.into_iter().for_each(|warning| held.recorder.warn(warning));
    let claim = life.claim.get_or_insert_with(|| shared.claims.of(&session.name));
    let (components, taken) = claim.update(named.components, is_first);
    let mut conflicts = named.conflicts.into_iter().chain(taken);
    if is_first && let Some(conflict) = conflicts.next() {
        return Err(conflict.fault());
    }
    conflicts.map(Conflict::warning).for_each(|warning| held.recorder.warn(warning));
    Ok(Listing::of(components))
}

/// Lets the users see the session, unless it was asked to leave before.
fn come_up(
    session: &Session,
    link: &Link,
    connection: Connection,
    listing: Listing,
    life: &mut Life,
) -> Result<SessionInfo, Fault> {
    let profile = link.profile();
    let connect_ms = life.began.map_or(0, |began| millis(began.elapsed()));
    let info =
        reporting::info(session, profile.era.clone(), connect_ms, &listing, life.list_fault());
    let live = Live {
        info: info.clone(),
        listing: Arc::new(listing),
        profile: Arc::new(profile),
        connection: Arc::new(connection),
    };
    if !session.come_up(live) {
        return Err(interrupted());
    }
    life.info = Some(info.clone());
    life.is_up = true;
    life.comebacks.up();
    Ok(info)
}

/// From here on only exits run. A session that ended by itself has the whole budget; an order may shorten it.
fn begin_leaving(context: Context<'_>, life: &mut Life, fault: Option<&Fault>) {
    let Context { session, shared, .. } = context;
    let stage = session.stage();
    if let (Some(info), Stage::Up(live)) = (&mut life.info, &stage) {
        // The report has the numbers of the last listing.
        info.count(&live.listing);
        if let Some(fault) = fault {
            live.connection.ended_by.get_or_init(|| fault.clone());
        }
    }
    context.orders.end_start(shared.options.budget);
    let comes_back = fault.is_some_and(|fault| life.comes_back(session, shared, fault));
    // A session that is down stays so while its server is started again and again.
    if !(comes_back && matches!(stage, Stage::Down(_))) {
        session.advance(Stage::Leaving { fault: fault.cloned() });
    }
    if !comes_back {
        life.withdraw(shared);
    }
    if let Stage::Up(live) = stage
        && shared.is_closing()
    {
        life.live = Some(live);
    }
    session.tell(shared, || match fault {
        None => EventKind::Closing,
        Some(fault) if life.is_up => EventKind::Lost { message: fault.line() },
        Some(fault) => EventKind::Failed { outcome: fault.outcome, message: fault.line() },
    });
}

/// The outcome of an attempt that was interrupted, for any reason.
pub(super) fn interrupted() -> Fault {
    Fault::new(Outcome::Closing, "the attempt was interrupted: the session is being left")
}
