//! Leaving a child: end of input, SIGTERM, SIGKILL, sweep, reap.
//!
//! ```text
//! end of input ──eof grace──▶ SIGTERM ──term grace──▶ SIGKILL ──▶ sweep ──▶ reap
//!      └─ leader gone ──▶ sweep: settle ──▶ SIGTERM ──▶ SIGKILL ──▶ reap
//! ```
//! Each signal is sent once. The phases end when the whole group has ended, not its leader alone, because a launcher
//! that exits may leave the real server behind. The graces shrink so that SIGKILL comes in time, and they shrink again
//! when the order tightens meanwhile.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::ProcessGroup;
use super::shared_table::SharedTable;
use crate::duration::bounded;
use crate::order::{Order, OrderWatch, SOON};
use crate::policy::Descendants;
use crate::report::{ExitStatusReport, LeavePhase};

/// SIGKILL goes out this long before the end of the budget, or at half of a budget that is shorter than two of these.
const KILL_RESERVE: Duration = Duration::from_millis(500);
/// The time that descendants may take to follow their leader before the sweep becomes a signal.
const SETTLE: Duration = Duration::from_millis(250);

/// The waits between the phases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Graces {
    pub(crate) eof: Duration,
    pub(crate) term: Duration,
}

/// The record of leaving a child.
#[derive(Debug, Default)]
pub(crate) struct ChildLeft {
    pub(crate) signals: Vec<&'static str>,
    pub(crate) status: Option<ExitStatusReport>,
    pub(crate) survivors: Vec<i32>,
    pub(crate) descendants: Option<Descendants>,
    pub(crate) fault: Option<String>,
}

/// Leaves the child. The caller has closed (or is closing) its standard input.
pub(crate) async fn leave(
    group: &ProcessGroup,
    processes: &SharedTable,
    graces: Graces,
    orders: &OrderWatch,
    mut on_phase: impl FnMut(LeavePhase),
) -> ChildLeft {
    let mut plan = Plan::of(graces);
    let mut left = ChildLeft::default();

    let mut empty =
        wait_empty(group, processes, orders, SETTLE, |order| plan.end_of_input(order)).await;
    if !empty && !orders.current().force && send(group, Signal::TERM, "SIGTERM", &mut left) {
        on_phase(LeavePhase::Terminate);
        plan.graces.eof = plan.start.elapsed();
        empty = wait_empty(group, processes, orders, Duration::MAX, |order| plan.terminated(order))
            .await;
    }
    if !empty && send(group, Signal::KILL, "SIGKILL", &mut left) {
        on_phase(LeavePhase::Kill);
        empty = wait_empty(group, processes, orders, Duration::MAX, |order| plan.end(order)).await;
    }

    left.status = group.status();
    left.descendants = Some(group.descendants());
    if !empty || group.descendants() == Descendants::Leave {
        left.survivors = match group.members() {
            Some(members) => members,
            None if left.status.is_none() => vec![group.id()],
            None => Vec::new(),
        };
    }
    if !group.reap() {
        left.fault = Some(format!("process {} was killed and has not ended", group.id()));
    }
    left
}

/// Sends a signal, and records it if it reached a process.
fn send(group: &ProcessGroup, signal: Signal, name: &'static str, left: &mut ChildLeft) -> bool {
    let found = group.signal(signal);
    if found {
        left.signals.push(name);
    }
    found
}

/// Waits until the group is empty or the time that `until` returns for the newest order has come; returns whether the
/// group is empty. Once the leader is gone the others have `settle` to follow.
async fn wait_empty(
    group: &ProcessGroup,
    processes: &SharedTable,
    orders: &OrderWatch,
    settle: Duration,
    until: impl Fn(Order) -> Instant,
) -> bool {
    // From here on, because the leaders of many groups may be about to end.
    let mut announced = Some(processes.announce());
    let soon = until(orders.current()).min(Instant::now() + SOON);
    let mut exited = tokio::time::timeout_at(soon, group.exited()).await.is_ok();
    while !exited {
        let order = orders.current();
        tokio::select! {
            biased;
            _ = group.exited() => exited = true,
            () = tokio::time::sleep_until(until(order)) => return false,
            () = orders.tighter_than(order) => {}
        }
    }
    // No event tells that a group has become empty, so it is looked at, at growing intervals.
    let settled = Instant::now().checked_add(settle);
    let mut pause = Duration::from_millis(2);
    loop {
        let order = orders.current();
        let end = settled.map_or(until(order), |settled| settled.min(until(order)));
        // One look is enough if no process is left, which is the usual case.
        if group.is_empty(processes, announced.take()).await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep_until(end.min(Instant::now() + pause)) => {}
            () = orders.tighter_than(order) => {}
        }
        pause = (pause * 2).min(Duration::from_millis(40));
    }
}

/// The points in time, worked out anew from each order.
#[derive(Debug, Clone, Copy)]
struct Plan {
    start: Instant,
    graces: Graces,
}

impl Plan {
    /// The plan of a child that is left from now on.
    fn of(Graces { eof, term }: Graces) -> Self {
        let graces = Graces { eof: bounded(eof), term: bounded(term) };
        Self { start: Instant::now(), graces }
    }

    /// The end of every wait.
    fn end(&self, order: Order) -> Instant {
        order.end().unwrap_or_else(|| self.deadline(order)).max(self.start)
    }

    fn deadline(&self, order: Order) -> Instant {
        order.leave_by.unwrap_or(self.start + self.graces.eof + self.graces.term + KILL_RESERVE)
    }

    /// The latest time of SIGKILL.
    fn kill(&self, order: Order) -> Instant {
        if order.force {
            return self.start;
        }
        let deadline = self.deadline(order);
        let whole = deadline.saturating_duration_since(self.start);
        let reserve = KILL_RESERVE.min(whole / 2);
        deadline.checked_sub(reserve).map_or(self.start, |kill| kill.max(self.start))
    }

    /// The end of the grace after end of input. If both graces do not fit they shrink alike.
    fn end_of_input(&self, order: Order) -> Instant {
        let room = self.kill(order).saturating_duration_since(self.start);
        let wanted = self.graces.eof + self.graces.term;
        let eof = if wanted <= room || wanted.is_zero() {
            self.graces.eof
        } else {
            room.mul_f64(self.graces.eof.as_secs_f64() / wanted.as_secs_f64())
        };
        self.start + eof
    }

    /// The end of the grace after SIGTERM. `graces.eof` is by now the real duration of that
    /// phase.
    fn terminated(&self, order: Order) -> Instant {
        (self.start + self.graces.eof + self.graces.term).min(self.kill(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let two = Duration::from_secs(2);
        Plan::of(Graces { eof: two, term: two })
    }

    fn within(plan: Plan, budget: Duration) -> Order {
        Order { leave_by: Some(plan.start + budget), ..Order::default() }
    }

    #[test]
    fn graces_that_fit_are_kept() {
        let plan = plan();
        let order = within(plan, Duration::from_secs(5));
        assert_eq!(plan.end_of_input(order) - plan.start, Duration::from_secs(2));
        assert_eq!(plan.terminated(order) - plan.start, Duration::from_secs(4));
        assert_eq!(plan.kill(order) - plan.start, Duration::from_millis(4_500));
    }

    #[test]
    fn graces_shrink_alike_so_that_sigkill_comes_half_a_second_before_the_end() {
        let plan = plan();
        let order = within(plan, Duration::from_millis(2_500));
        assert_eq!(plan.end_of_input(order) - plan.start, Duration::from_secs(1));
        assert_eq!(plan.terminated(order) - plan.start, Duration::from_secs(2));
        assert_eq!(plan.kill(order) - plan.start, Duration::from_secs(2));
    }

    #[test]
    fn graces_beyond_the_end_of_time_are_those_of_the_order() {
        let plan = Plan::of(Graces { eof: Duration::MAX, term: Duration::MAX });
        let order = within(plan, Duration::from_millis(2_500));
        assert_eq!(plan.end_of_input(order) - plan.start, Duration::from_secs(1));
        assert_eq!(plan.terminated(order) - plan.start, Duration::from_secs(2));
        assert!(plan.end(Order::default()) > plan.start);
    }

    #[test]
    fn a_budget_too_short_for_the_reserve_is_halved() {
        let plan = plan();
        let order = within(plan, Duration::from_millis(600));
        assert_eq!(plan.kill(order) - plan.start, Duration::from_millis(300));
    }

    #[test]
    fn force_leaves_no_grace() {
        let plan = plan();
        let order = Order { force: true, ..within(plan, Duration::from_secs(5)) };
        assert_eq!(plan.end_of_input(order), plan.start);
    }
}
