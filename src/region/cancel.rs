//! Cancellation: how it is requested, kept, and passed on (R3, R6, R7, R9, R10).

use super::time::WaitTimers;
use super::{
    AFAR, ATTENDED, BELOW, CANCELLED, DEADLINE, ENTERED, HELD, Inner, Kind, LEFT, Node, REWAKE,
    Reach, SHELTERED, SHIELD, STOP, TIMED, UNWATCHED,
};
use crate::reason::{Reason, ReasonKind};
use crate::sync::{Arc, Ordering, Weak, epoch};
use crate::unwind::{self, Payload};
use crate::wakers::{Mark, Taken, Wakers, wake_all, wake_all_of};
use std::task::{Context, Waker};
use std::time::Instant;

/// The value of `quiet` in a region that was cancelled or stopped itself: no epoch.
const NEVER: u64 = u64::MAX;
/// The value of `quiet` in a region that has been entered, and in which no look has found anything since.
const ENTERED_UNSEEN: u64 = u64::MAX - 1;

/// The signal that travels down the links when a region is cancelled.
#[derive(Clone)]
enum Signal {
    /// The region itself is cancelled.
    Cancel(Reason),
    /// The region itself gets a stop request.
    Stop(Reason),
    /// The children of the region are cancelled, including children that are spawned later; the region itself is
    /// not.
    Children(Reason),
    /// A cancelled region around keeps its body for a shield: the children of every group inside are cancelled.
    Held(Reason),
    /// The times of the region have changed.
    Time,
    /// A region around got such a signal: waiters look again, and shields are woken, because a shield has
    /// to be polled to hold.
    Look,
}

/// The regions that a signal has not reached yet, each with its signal.
#[derive(Default)]
struct Errand {
    nodes: Vec<(Arc<Node>, usize)>,
    /// Each signal is stored once for all regions that get it.
    signals: Vec<Signal>,
}

impl Errand {
    fn add(&mut self, to: &Inner, signal: &Signal) {
        let Some(reach) = to.reach.as_ref().filter(|reach| !reach.links.is_empty()) else { return };
        let signal = match signal {
            Signal::Children(reason) => Signal::Cancel(reason.clone()),
            signal => signal.clone(),
        };
        let (before, at) = (self.nodes.len(), self.signals.len());
        self.nodes.reserve(reach.links.len());
        self.nodes.extend(to.links().filter_map(Weak::upgrade).map(|node| (node, at)));
        if self.nodes.len() > before {
            self.signals.push(signal);
        }
    }
}

impl Node {
    /// Cancels this region for `reason`, unless it is cancelled already or was left. The regions
    /// that are linked below are reached in a loop, not by recursion (R14).
    pub(crate) fn cancel(&self, reason: Reason) {
        if let Some(payload) = self.cancel_for_user(reason) {
            unwind::discard(payload);
        }
    }

    /// As [`cancel`](Node::cancel); returns the first panic of a waker, to be resumed in the user code that made
    /// the request.
    #[must_use = "a payload must not be dropped where its drop could panic"]
    pub(crate) fn cancel_for_user(&self, reason: Reason) -> Option<Payload> {
        let (mut own, mut below) = (Taken::default(), Errand::default());
        self.hear(Signal::Cancel(reason.clone()), &mut own, &mut below);
        self.tell_cancelled(&reason);
        Node::tell_all(own, below)
    }

    /// Cancels the children, including later ones, but not the region itself.
    pub(crate) fn cancel_below(&self, reason: Reason) {
        let (mut own, mut below) = (Taken::default(), Errand::default());
        self.hear(Signal::Children(reason), &mut own, &mut below);
        Node::tell(own, below);
    }

    /// Records that the body of this cancelled region waits for a shield inside. Only the body waits for the shield, so
    /// the children of the groups inside are cancelled now (R12).
    pub(super) fn hold(&self) {
        let mut below = Errand::default();
        {
            let inner = self.inner.lock();
            self.raise(&inner, HELD);
            if let Some(reason) = inner.reason() {
                below.add(&inner, &Signal::Held(reason.seen_as(ReasonKind::Parent)));
            }
        }
        Node::tell(Taken::default(), below);
    }

    /// Wakes `own` after every region below has got its signal and was woken, because a shield has to be woken before
    /// the region around it is polled (R12).
    fn tell(own: Taken, below: Errand) {
        if let Some(payload) = Node::tell_all(own, below) {
            unwind::discard(payload);
        }
    }

    /// As [`tell`](Node::tell); returns the first panic of a waker.
    fn tell_all(own: Taken, mut below: Errand) -> Option<Payload> {
        let mut wakers = Taken::default();
        while let Some((node, signal)) = below.nodes.pop() {
            let Some(signal) = node.takes(&below.signals[signal]) else { continue };
            if node.hear(signal, &mut wakers, &mut below) & UNWATCHED != 0 {
                // A panic of its clock must not keep the signal from the other regions.
                unwind::quietly(|| node.begin_graces());
            }
        }
        wake_all_of(wakers.into_wakers().chain(own.into_wakers()))
    }

    /// A child is cancelled with its group; a stay with its scope and for the same reason. Any other
    /// region is dropped with the region around it, or survives it, and only looks. `Held` does not pass a
    /// shield.
    fn takes(&self, signal: &Signal) -> Option<Signal> {
        Some(match (self.kind(), signal) {
            (_, Signal::Held(_)) if self.has(SHIELD | SHELTERED) => return None,
            (Kind::Child, Signal::Cancel(reason) | Signal::Held(reason)) => {
                Signal::Cancel(reason.seen_below())
            }
            (_, Signal::Held(_)) => signal.clone(),
            (Kind::Stay, Signal::Cancel(_) | Signal::Time) => signal.clone(),
            (Kind::Child | Kind::Stay, Signal::Stop(_)) => signal.clone(),
            _ => Signal::Look,
        })
    }

    /// The requests that count for children without a node. If there are more than before, the group's `run` polls
    /// those children.
    pub(crate) fn told_below(&self) -> u32 {
        self.flags() & (CANCELLED | BELOW)
    }

    /// The number of the first request that cancelled its children, from [`next_number`](crate::sync::next_number).
    pub(super) fn told_at(&self) -> Option<u64> {
        self.inner.lock().more.as_ref().map(|more| more.told).filter(|told| *told != 0)
    }

    /// Returns the region's flags, as they are then.
    fn hear(&self, signal: Signal, wakers: &mut Taken, below: &mut Errand) -> u32 {
        let mut inner = self.inner.lock();
        let heard = match signal {
            Signal::Cancel(_) => LEFT | CANCELLED,
            Signal::Stop(_) => LEFT | STOP,
            Signal::Children(_) | Signal::Held(_) | Signal::Time | Signal::Look => 0,
        };
        if self.has(heard) {
            return self.flags();
        }
        below.add(&inner, &signal);
        let wakes_run = match signal {
            Signal::Cancel(reason) => {
                inner.more().reason = Some(reason);
                if self.kind == Kind::Group {
                    inner.tell_children();
                }
                self.raise(&inner, CANCELLED);
                // The epoch is raised before the waiters are taken, so that a waiter that
                // registers later sees it, and looks.
                self.unsettle_for_good();
                true
            }
            Signal::Stop(reason) => {
                let rest = inner.rest();
                rest.stop = Some(reason);
                let grace = rest.grace.is_some();
                // The run has to see that its grace begins. A scope that was entered by a call has no
                // run.
                let times = match grace {
                    true if self.is_entered_by_call() => UNWATCHED,
                    true => DEADLINE,
                    false => 0,
                };
                self.raise(&inner, STOP | times);
                self.unsettle_for_good();
                grace
            }
            Signal::Held(_) if self.kind != Kind::Group => return self.flags(),
            Signal::Children(reason) | Signal::Held(reason) => {
                if !self.has(CANCELLED) {
                    inner.rest().below.get_or_insert(reason);
                }
                inner.tell_children();
                self.raise(&inner, BELOW);
                // The group's run is woken, because it polls the children that have no node and
                // are not linked.
                true
            }
            Signal::Time => {
                self.note_time(&inner);
                true
            }
            // A shield is woken, because it has to be polled to hold. A cancelled region is woken, to check whether
            // an outer region still has to catch (R9); a child ends in either case.
            Signal::Look if self.kind == Kind::Child => self.has(SHIELD),
            Signal::Look => self.has(SHIELD | CANCELLED),
        };
        self.take_waiters(&mut inner, wakers);
        if wakes_run {
            self.take_run(&mut inner, wakers);
        }
        self.flags()
    }

    /// Notes that the region's times have changed.
    fn note_time(&self, inner: &Inner) {
        let first = self.flags() & (TIMED | ENTERED) == ENTERED;
        self.raise(inner, DEADLINE | TIMED);
        if first {
            // The regions inside may be quiet, and not `TIMED`. Under the lock: T1 reads the links, and unlocks; T2 links
            // its region, finds it quiet, and waits for no time; T1 begins the epoch, and T2 sleeps.
            self.unsettle();
        }
    }

    /// Takes the waker of the run that attends the region, to be woken (invariant 4).
    fn take_run(&self, inner: &mut Inner, wakers: &mut Taken) {
        if let Some(waker) = inner.waker.take() {
            self.raise(inner, REWAKE);
            wakers.extend([waker]);
        }
    }

    /// Changes the deadline; all that watch it, here and inside, look at it again.
    pub(crate) fn set_deadline(&self, at: Instant) {
        let (mut own, mut below) = (Taken::default(), Errand::default());
        {
            let mut inner = self.inner.lock();
            inner.more().deadline = Some(at);
            self.note_time(&inner);
            below.add(&inner, &Signal::Time);
            self.take_waiters(&mut inner, &mut own);
            self.take_run(&mut inner, &mut own);
        }
        Node::tell(own, below);
    }

    pub(super) fn take_waiters(&self, inner: &mut Inner, wakers: &mut Taken) {
        let Some(reach) = &mut inner.reach else { return };
        if !reach.waiters.is_empty() || !reach.stop_waiters.is_empty() {
            wakers.take(&mut reach.waiters);
            wakers.take(&mut reach.stop_waiters);
            // Changed under the lock, as the flags are, so no read-modify-write is needed.
            self.calls.store(self.calls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        }
    }

    /// For a new child or stay: passes on the requests that its region got before.
    pub(super) fn catch_up(self: &Arc<Self>, child: &Arc<Node>) {
        let (reason, stop) = {
            let inner = self.inner.lock();
            let rest = inner.rest_seen();
            // A cancellation of the children alone was recorded before one of the region.
            let reason = rest.and_then(|rest| rest.below.as_ref()).or_else(|| inner.reason());
            (reason.cloned(), rest.and_then(|rest| rest.stop.clone()))
        };
        let signals = [reason.map(Signal::Cancel), stop.map(Signal::Stop)];
        let mut told = Errand::default();
        for signal in signals.into_iter().flatten() {
            told.nodes.push((Arc::clone(child), told.signals.len()));
            told.signals.push(signal);
        }
        Node::tell(Taken::default(), told);
    }

    /// Whether there is a shield below that a poll of this region may reach.
    pub(super) fn has_shield_below(&self) -> bool {
        self.any_shield_below(|_, _| true)
    }

    /// Wakes the shields below, to find out which of them are polled.
    pub(super) fn wake_shields_below(&self) {
        let mut wakers = Vec::new();
        self.any_shield_below(|shield, inner| {
            if let Some(waker) = inner.waker.take() {
                shield.raise(inner, REWAKE);
                wakers.push(waker);
            }
            false
        });
        wake_all(wakers);
    }

    /// Searches for a shield for which `is_it` returns `true`; `is_it` runs under the shield's lock. The region's own
    /// children and the regions inside an executor child are left out, because a poll of the body does not reach them.
    /// An entered scope is left out as well, because it shields nothing itself: its stays do.
    fn any_shield_below(&self, mut is_it: impl FnMut(&Node, &mut Inner) -> bool) -> bool {
        let mut below: Vec<_> = self.inner.lock().links().filter_map(Weak::upgrade).collect();
        below.retain(|node| node.kind != Kind::Child);
        while let Some(node) = below.pop() {
            if node.has(AFAR) {
                continue;
            }
            let mut inner = node.inner.lock();
            if node.has(SHIELD) && node.has(ATTENDED) && is_it(&node, &mut inner) {
                return true;
            }
            below.extend(inner.links().filter_map(Weak::upgrade));
        }
        false
    }

    /// Wakes the waiters here and below, so that they look again, if the link came after a cancellation, or after a change
    /// of times.
    pub(super) fn look(self: &Arc<Self>) {
        if !self.is_found_quiet() || self.has(TIMED) {
            self.look_again(self.held_around().map(Signal::Held));
        }
    }

    /// Wakes the waiters here and below, so that they look again, because the regions around have changed, or the clock
    /// or the times of this region. For example, a cancelled region around was left, so that a cancellation here counts
    /// now; or there is a deadline now.
    pub(super) fn look_after(self: &Arc<Self>) {
        self.look_again(None);
    }

    fn look_again(self: &Arc<Self>, held: Option<Signal>) {
        let signals: Vec<_> = held.into_iter().chain([Signal::Look]).collect();
        let nodes = (0..signals.len()).map(|at| (Arc::clone(self), at)).collect();
        Node::tell(Taken::default(), Errand { nodes, signals });
    }

    /// The reason of the nearest region around, up to a shield, that is cancelled and keeps its body for another
    /// shield.
    fn held_around(&self) -> Option<Reason> {
        if self.has(SHELTERED | SHIELD | LEFT) {
            return None;
        }
        let held = self.around().find(|node| node.has(HELD))?;
        let inner = held.inner.lock();
        inner.reason().map(|reason| reason.seen_as(ReasonKind::Parent))
    }

    /// The grace of a shield is over: a cancellation around it counts inside from now on (R12).
    pub(super) fn give_way(self: &Arc<Self>) {
        // The shield of a stay is that of its scope.
        for node in [self, &self.timed()] {
            let inner = node.inner.lock();
            node.lower(&inner, SHIELD);
        }
        self.unsettle();
        // `HELD` is cleared on the regions around. If another shield holds one of them, its next poll sets the flag
        // again, and the signal then reaches the regions inside this shield as well.
        for node in self.around().filter(|node| node.has(HELD)) {
            let inner = node.inner.lock();
            node.lower(&inner, HELD);
        }
        self.look();
    }

    /// Asks this region and every region inside it to wind down (R13).
    #[must_use = "a payload must not be dropped where its drop could panic"]
    pub(crate) fn stop(self: &Arc<Self>, reason: Reason) -> Option<Payload> {
        let (mut own, mut below) = (Taken::default(), Errand::default());
        self.hear(Signal::Stop(reason.clone()), &mut own, &mut below);
        self.tell_stopped(&reason);
        // A panic of its clock is resumed after the signal has reached every region.
        let begun = unwind::catch(|| self.begin_graces());
        match (Node::tell_all(own, below), begun) {
            (Some(first), Err(second)) => {
                unwind::discard(second);
                Some(first)
            }
            (first, begun) => first.or(begun.err()),
        }
    }

    pub(super) fn stop_reason(&self) -> Option<Reason> {
        self.inner.lock().rest_seen()?.stop.clone()
    }

    /// Whether this region or one around it, through shields too, got a stop request.
    pub(crate) fn is_stopped(&self) -> bool {
        if self.has(STOP) {
            return true;
        }
        let now = epoch().load(Ordering::Acquire);
        if self.is_quiet_in(now) {
            return false;
        }
        let mut last = self.has(SHELTERED | LEFT);
        let mut at = self.live_parent();
        while let (Some(node), false) = (at, last) {
            if node.has(STOP) {
                return true;
            }
            last = node.is_quiet_in(now) || node.has(SHELTERED);
            at = node.live_parent();
        }
        false
    }

    /// Whether this region itself was cancelled.
    #[inline]
    pub(crate) fn is_cancelled_itself(&self) -> bool {
        self.has(CANCELLED)
    }

    /// This region's own reason, else that of the nearest cancelled region around it, as seen from
    /// here.
    pub(crate) fn effective_reason(&self) -> Option<Reason> {
        {
            let inner = self.inner.lock();
            let own = inner.reason().or_else(|| inner.dropped_for());
            if let Some(reason) = own {
                return Some(reason.clone());
            }
        }
        if self.has(SHELTERED | SHIELD | LEFT) { None } else { self.reason_around() }
    }

    /// The reason of the nearest cancelled region around this one, up to the next shield.
    pub(super) fn reason_around(&self) -> Option<Reason> {
        let cancelled = self.around().find(|node| node.has(CANCELLED))?;
        let inner = cancelled.inner.lock();
        inner.reason().map(|reason| reason.seen_as(ReasonKind::Parent))
    }

    /// Whether the region itself was cancelled, by the request behind `reason`.
    pub(super) fn is_cancelled_for(&self, reason: &Reason) -> bool {
        self.has(CANCELLED) && self.inner.lock().reason().is_some_and(|own| own.is_of(reason))
    }

    /// The live regions around this one, as far as the next shield, which is the last.
    pub(super) fn around(&self) -> impl Iterator<Item = Arc<Node>> {
        std::iter::successors(self.live_parent(), |node| {
            if node.has(SHELTERED | SHIELD) { None } else { node.live_parent() }
        })
    }

    /// Whether a region around this one, up to a shield, is cancelled as well: the outermost of them catches, and drops
    /// this one (R9). An entered scope is not counted, because it has no body that it could drop; the runs inside it
    /// have.
    pub(super) fn is_caught_outside(self: &Arc<Self>) -> bool {
        // A stay stands for its scope.
        let node = self.timed();
        let both = CANCELLED | ATTENDED;
        let drops = |node: Arc<Node>| node.flags() & both == both;
        !node.has(SHELTERED | SHIELD | LEFT) && node.around().any(drops)
    }

    /// Whether this region or one around it, up to a shield, is cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        !self.is_quiet() && (self.has(CANCELLED) || self.is_cancelled_from_outside())
    }

    /// Whether nothing can have been cancelled or stopped here or around since no cancellation was found there.
    ///
    /// The answer can change by a request to this region, which marks it as never quiet; by a request to a region around
    /// it; or by a change of the regions around. The last two raise the epoch *after* they have happened. A thread that
    /// reads the new epoch therefore finds the change. A thread that reads the old epoch came before it.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet_in(epoch().load(Ordering::Acquire))
    }

    #[inline]
    fn is_quiet_in(&self, epoch: u64) -> bool {
        self.quiet.load(Ordering::Acquire) == epoch
    }

    #[cold]
    fn is_cancelled_from_outside(&self) -> bool {
        let now = epoch().load(Ordering::Acquire);
        let mut seen = 0;
        let cancelled = self.is_cancelled_in(now, &mut seen);
        if !cancelled && seen & (UNWATCHED | STOP) == 0 {
            self.quieten(now, seen & TIMED);
        }
        cancelled
    }

    /// As [`effective_reason`](Node::effective_reason), without the reason, and as far as the next region that is
    /// quiet. Returns in `seen` the flags of the regions on the way; of those outside a shield, only `STOP` (R13).
    fn is_cancelled_in(&self, now: u64, seen: &mut u32) -> bool {
        *seen = self.flags();
        {
            let inner = self.inner.lock();
            if inner.reason().is_some() || inner.dropped_for().is_some() {
                return true;
            }
        }
        let mut counts = if *seen & SHIELD == 0 { u32::MAX } else { STOP };
        let mut last = *seen & (SHELTERED | LEFT) != 0;
        let mut at = self.live_parent();
        while let (Some(node), false) = (at, last) {
            // Read before the flags, because a quiet region is marked `TIMED` before it is marked quiet.
            let quiet = node.is_quiet_in(now);
            let flags = node.flags();
            if flags & counts & CANCELLED != 0 {
                return true;
            }
            *seen |= flags & counts;
            if flags & SHIELD != 0 {
                counts = STOP;
            }
            last = quiet || flags & SHELTERED != 0;
            at = node.live_parent();
        }
        false
    }

    /// Records that no cancellation was found, here and on the way. A later look stops at a region on the way,
    /// so in a chain each region is walked past once. `timed` is `TIMED` if a region with times was found.
    fn quieten(&self, now: u64, timed: u32) {
        self.found_quiet(now, timed);
        let mut last = self.has(SHELTERED | SHIELD | LEFT);
        let mut at = self.live_parent();
        while let (Some(node), false) = (at, last) {
            last = node.is_quiet_in(now) || node.has(SHELTERED | SHIELD);
            node.found_quiet(now, timed);
            at = node.live_parent();
        }
    }

    /// Does not overwrite a mark that came after the look: T1 looks at a region and finds nothing; T2 cancels it, and
    /// marks it as never quiet; T1 marks it as quiet.
    fn found_quiet(&self, now: u64, timed: u32) {
        if timed != 0 && !self.has(TIMED) {
            let inner = self.inner.lock();
            self.raise(&inner, timed);
        }
        let before = self.quiet.load(Ordering::Acquire);
        if before != NEVER && !self.has(CANCELLED | STOP) {
            let _ = self.quiet.compare_exchange(before, now, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Whether nothing is cancelled or stopped here or around, and no region there has times that no run
    /// watches.
    pub(super) fn is_found_quiet(&self) -> bool {
        self.is_quiet() || (!self.is_cancelled() && self.is_quiet())
    }

    /// The regions around this one have changed, or its shield no longer holds: this region and the regions inside it
    /// look again.
    pub(super) fn unsettle(&self) {
        epoch().fetch_add(1, Ordering::Release);
    }

    /// This region was cancelled or stopped, or has times that no run watches: it is never quiet again, and the regions
    /// inside it look again.
    ///
    /// The mark is a read-modify-write, like every other change of the word, so that the changes are totally
    /// ordered, and a mark of [`found_quiet`](Node::found_quiet) comes before this one or fails.
    pub(super) fn unsettle_for_good(&self) {
        self.quiet.swap(NEVER, Ordering::AcqRel);
        self.unsettle_held();
    }

    /// As [`unsettle`](Node::unsettle), for the regions inside alone: if none was ever entered, no region has to look
    /// again (R19).
    ///
    /// T1 cancels this region, and then looks whether a region is inside. T2 notes that it enters a region, and then looks
    /// whether this one is cancelled. Both change one word, so the second acquires the first one's changes.
    pub(super) fn unsettle_held(&self) {
        if self.holds.fetch_or(false, Ordering::AcqRel) {
            epoch().fetch_add(1, Ordering::Release);
        }
    }

    /// Notes in `parent` that a region is entered in it. To be called before that region looks outwards.
    pub(super) fn note_held(parent: Option<&Arc<Node>>) {
        if let Some(parent) = parent.filter(|parent| !parent.holds.load(Ordering::Acquire)) {
            parent.holds.fetch_or(true, Ordering::AcqRel);
        }
    }

    /// The region has been entered in `parent`. A look of before, from here or from a region inside, found nothing around
    /// it; if there was none, no region has to look again.
    ///
    /// T1 looks; T2 enters the region and calls this; T1 marks the region as quiet. That mark comes either before this
    /// exchange, which then finds it, or after, and then it fails.
    pub(super) fn unsettle_if_seen(&self, parent: Option<&Arc<Node>>) {
        let unseen = |before: u64| (before != NEVER).then_some(ENTERED_UNSEEN);
        let before = self.quiet.fetch_update(Ordering::AcqRel, Ordering::Acquire, unseen);
        if before != Ok(0) || self.holds.load(Ordering::Acquire) {
            self.unsettle_inside(parent);
        }
    }

    /// The region has moved into `parent`.
    pub(super) fn unsettle_inside(&self, parent: Option<&Arc<Node>>) {
        if parent.is_some_and(|parent| parent.is_cancelled() || parent.is_stopped()) {
            self.unsettle();
        }
    }

    /// As [`is_cancelled`](Node::is_cancelled), for a question from outside: the clock is read for times that no run
    /// watches.
    #[inline]
    pub(crate) fn is_cancelled_by_now(self: &Arc<Self>) -> bool {
        !self.is_quiet() && {
            self.look_at_clocks();
            self.is_cancelled()
        }
    }

    /// Registers a waiter, or returns `true` if the region is cancelled.
    #[inline]
    pub(crate) fn wait_cancelled(self: &Arc<Self>, wait: &mut Wait, cx: &mut Context<'_>) -> bool {
        let as_it_was = !self.has(CANCELLED) && self.waits(wait, cx.waker()) && self.is_quiet();
        !as_it_was && self.wait_anew(wait, cx)
    }

    /// Looks after it has registered: a cancellation first sets its flag and then takes the waiters, so
    /// either the look finds the flag or the waiter is taken. The other order loses a wake-up: look, flag,
    /// take, register.
    #[inline(never)]
    fn wait_anew(self: &Arc<Self>, wait: &mut Wait, cx: &mut Context<'_>) -> bool {
        if self.has(CANCELLED) {
            return true;
        }
        if !self.waits(wait, cx.waker()) {
            let calls = wait.calls;
            self.register_wait(wait, cx.waker(), false);
            if wait.calls != calls {
                // The waiter was woken to look, so the deadlines may have changed.
                wait.timers = None;
            }
        }
        if self.is_cancelled() {
            return true;
        }
        if self.is_quiet() && !self.has(TIMED) {
            return false;
        }
        let cancelled = self.poll_times_around(&mut wait.timers, cx);
        if wait.timers.is_some() {
            // The mark is cleared, so that every later poll comes here and polls the timers.
            wait.mark = Mark::default();
        }
        cancelled
    }

    /// Waits for [`stop`](Node::stop), as [`wait_cancelled`](Node::wait_cancelled) for a cancellation.
    pub(crate) fn wait_stopped(self: &Arc<Self>, wait: &mut Wait, waker: &Waker) -> bool {
        if self.has(STOP) {
            return true;
        }
        if !self.waits(wait, waker) {
            self.register_wait(wait, waker, true);
        }
        self.is_stopped()
    }

    /// Whether `waker`, or an equal one, is still registered.
    #[inline]
    fn waits(&self, wait: &Wait, waker: &Waker) -> bool {
        wait.mark == Mark::of(waker) && wait.calls == self.calls.load(Ordering::Acquire)
    }

    fn register_wait(self: &Arc<Self>, wait: &mut Wait, waker: &Waker, for_stop: bool) {
        let (mark, waker) = (Mark::of(waker), waker.clone());
        wait.mark = mark;
        let mut inner = self.inner.lock();
        // From here on a cancellation around the region reaches it. A region that is not inside another one yet links
        // itself when it is entered, because it is awaited.
        if self.has(ENTERED) && inner.parent.is_some() && !self.is_linked_up() {
            drop(inner);
            // Before this waiter registers, because a link wakes the waiters to look again.
            self.link_up();
            inner = self.inner.lock();
        }
        if self.is_void(wait) {
            wait.key = None;
        }
        wait.calls = self.calls.load(Ordering::Relaxed);
        let old = if self.has(LEFT) {
            Some(waker)
        } else {
            let reach = inner.reach();
            let waiters = if for_stop { &mut reach.stop_waiters } else { &mut reach.waiters };
            waiters.register(&mut wait.key, waker)
        };
        drop(inner);
        drop(old);
    }

    /// Whether the place of `wait` is no longer its own. Exact under the lock; without the lock, a place
    /// that was void stays void.
    fn is_void(&self, wait: &Wait) -> bool {
        wait.calls != self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_waiter(&self, wait: &mut Wait) {
        wait.timers = None;
        drop(self.take_place(wait, |reach| &mut reach.waiters));
    }

    pub(crate) fn forget_stop_waiter(&self, wait: &mut Wait) {
        drop(self.take_place(wait, |reach| &mut reach.stop_waiters));
    }

    fn take_place(
        &self,
        wait: &mut Wait,
        among: impl FnOnce(&mut Reach) -> &mut Wakers,
    ) -> Option<Waker> {
        let key = wait.key.take()?;
        if self.is_void(wait) {
            return None;
        }
        let mut inner = self.inner.lock();
        if self.is_void(wait) { None } else { among(inner.reach.as_mut()?).remove(key) }
    }

    /// The number of runs inside this scope.
    pub(super) fn stays(&self) -> usize {
        let below: Vec<_> = {
            let inner = self.inner.lock();
            inner.links().filter_map(Weak::upgrade).collect()
        };
        below.iter().filter(|node| node.kind() == Kind::Stay).count()
    }
}

/// A wait for an event of a region: a place among its waiters, and the mark of its waker.
#[derive(Default)]
pub(crate) struct Wait {
    key: Option<usize>,
    /// The waker that was registered in the place, and the number of takes at that time.
    mark: Mark,
    calls: u32,
    timers: Option<WaitTimers>,
}
