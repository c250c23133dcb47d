//! The orders to a session's owner, from any task, and the owner's view of them.
//!
//! An order is a request to a region of the owner: to wind down within a time, or to be patient with the server no
//! longer. Both only ever tighten (a grace becomes shorter, a cancellation is never taken back), so every wait inside an
//! owner can use the newest order, independent of its source and of the number of orders before. No future runs in these
//! regions, because leaving a server must not be dropped: they are asked for their state.

use std::pin::pin;
use std::time::Duration;

use moored::{CancelHandle, CancelScope, EnteredScope};
use tokio::time::Instant;

/// The newest order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Order {
    /// Leave, and have left by this time.
    pub(crate) leave_by: Option<Instant>,
    /// Kill at once and send no more requests.
    pub(crate) force: bool,
    /// The time is over, so no order is tighter.
    pub(crate) spent: bool,
}

/// The time that is kept free at the end of the budget, for the report.
const REPORT_RESERVE: Duration = Duration::from_millis(100);
/// The time for which a wait follows no tighter order. Most waits are over by then, and following an order costs ten times
/// as much as a timer.
pub(crate) const SOON: Duration = Duration::from_millis(50);

impl Order {
    /// The end of the last wait for a server: a moment before the deadline.
    pub(crate) fn end(self) -> Option<Instant> {
        self.leave_by.map(|deadline| deadline.checked_sub(REPORT_RESERVE).unwrap_or(deadline))
    }

    /// Whether no wait may begin: leaving was forced, or the time is spent.
    pub(crate) fn is_over(self) -> bool {
        self.force || self.end().is_some_and(|end| end <= Instant::now())
    }
}

/// The regions of a session's owner that orders go to. The owner enters them.
#[derive(Debug)]
pub(crate) struct Ordered {
    /// Stopped to leave the session, within the time that is left for it.
    session: CancelScope,
    /// Cancelled to end every wait for the server.
    patience: CancelScope,
}

/// The side that gives orders; any task may hold it.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    session: CancelHandle,
    patience: CancelHandle,
}

/// The owner's side.
#[derive(Debug, Clone)]
pub(crate) struct OrderWatch {
    orders: Orders,
    /// The region of one start of a server, which is stopped when that start has ended without an order.
    start: Option<CancelHandle>,
}

impl Ordered {
    /// The regions of a session, without an order.
    pub(crate) fn new(name: &str) -> Self {
        let scope = |what: &str| CancelScope::new().named(format!("{what} {name}"));
        Self { session: scope("session"), patience: scope("patience with") }
    }

    /// The side that gives orders.
    pub(crate) fn orders(&self) -> Orders {
        Orders { session: self.session.handle(), patience: self.patience.handle() }
    }

    /// Enters the regions, in the owner's task. From here on the time of an order runs.
    pub(crate) fn enter(self) -> Vec<EnteredScope> {
        // A scope is refused only if it was run before.
        [self.session, self.patience].into_iter().filter_map(|it| it.enter().ok()).collect()
    }
}

impl Orders {
    /// Asks to have left within `budget`; an earlier deadline stands.
    pub(crate) fn leave_within(&self, budget: Duration) {
        self.session.stop_within(budget);
    }

    /// Asks to kill at once. If there was no order to leave, this is one.
    pub(crate) fn force(&self, budget: Duration) {
        if !self.session.is_stop_requested() {
            self.leave_within(budget);
        }
        self.patience.cancel_because("leaving was forced");
    }

    /// The owner's side.
    pub(crate) fn watch(&self) -> OrderWatch {
        OrderWatch { orders: self.clone(), start: None }
    }
}

impl OrderWatch {
    /// A watch on the same orders for one start of a server, and the region of that start.
    pub(crate) fn of_start(&self, name: &str) -> (Self, Option<EnteredScope>) {
        let start = CancelScope::new().named(format!("start of {name}")).enter().ok();
        (
            Self { orders: self.orders.clone(), start: start.as_ref().map(EnteredScope::handle) },
            start,
        )
    }

    /// The start has ended and has to be left within `budget`. Called once, before the first exit runs. If there is an order
    /// to leave, its time counts: it began before.
    pub(crate) fn end_start(&self, budget: Duration) {
        if !self.is_asked_to_leave() {
            self.start.iter().for_each(|start| start.stop_within(budget));
        }
    }

    /// The region of a start that has ended without an order.
    fn ended(&self) -> Option<&CancelHandle> {
        self.start.as_ref().filter(|start| start.is_stop_requested())
    }

    /// The newest order.
    pub(crate) fn current(&self) -> Order {
        let mut leave_by = None;
        for region in std::iter::once(&self.orders.session).chain(self.ended()) {
            let end = region.deadline().map(Instant::from_std);
            // A region that was cancelled at the end of its time has no deadline any more.
            if end.map_or_else(|| region.is_cancelled(), |end| end <= Instant::now()) {
                return Order { leave_by: Some(Instant::now()), force: true, spent: true };
            }
            leave_by = [leave_by, end].into_iter().flatten().min();
        }
        Order { leave_by, force: self.orders.patience.is_cancelled(), spent: false }
    }

    /// Whether there is an order to leave.
    pub(crate) fn is_asked_to_leave(&self) -> bool {
        self.orders.session.is_stop_requested()
    }

    /// Ready once there is an order to leave.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn asked_to_leave(&self) {
        self.orders.session.stop_requested().await;
    }

    /// Ready when the order has become tighter than `seen`; never if `seen` is the end of the time.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn tighter_than(&self, seen: Order) {
        let by = seen.leave_by.map(Instant::into_std);
        let ended = self.ended();
        let start = async {
            if let Some(start) = ended {
                start.tightened(by).await;
            }
        };
        tokio::select! {
            () = self.orders.session.tightened(by), if !seen.spent => {}
            () = start, if ended.is_some() && !seen.spent => {}
            () = self.orders.patience.cancelled(), if !seen.force => {}
            else => std::future::pending().await,
        }
    }

    /// The result of `work`; `None` if it would be a wait that may not go on, or not begin. A tighter order counts after
    /// [`SOON`].
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let order = self.current();
        if order.is_over() {
            return None;
        }
        let soon = Instant::now() + SOON;
        let soon = order.end().map_or(soon, |end| end.min(soon));
        let mut work = pin!(work);
        if let Ok(done) = tokio::time::timeout_at(soon, &mut work).await {
            return Some(done);
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.out_of_time() => None,
        }
    }

    /// Ready when no wait may go on: leaving was forced, or the time is spent.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn out_of_time(&self) {
        let mut order = self.current();
        while !order.force {
            let end = order.end();
            tokio::select! {
                () = tokio::time::sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return,
                () = self.tighter_than(order) => order = self.current(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_order_only_tightens_and_every_wait_sees_the_newest() {
        let ordered = Ordered::new("s");
        let orders = ordered.orders();
        let _entered = ordered.enter();
        let (watch, _start) = orders.watch().of_start("s");
        let began = Instant::now();
        let calm = watch.current();
        assert_eq!(calm, Order::default());
        assert!(watch.tighter_than(calm).now_or_never().is_none() && !watch.is_asked_to_leave());
        watch.end_start(9 * SECOND);
        watch.tighter_than(calm).await;
        let ended = watch.current();
        assert_eq!(ended, Order { leave_by: Some(began + 9 * SECOND), ..Order::default() });
        assert!(!watch.is_asked_to_leave(), "the start has ended, the session has not");
        orders.leave_within(10 * SECOND);
        assert!(watch.tighter_than(ended).now_or_never().is_none());
        assert!(watch.asked_to_leave().now_or_never().is_some() && watch.is_asked_to_leave());
        orders.leave_within(5 * SECOND);
        watch.tighter_than(ended).await;
        let sooner = watch.current();
        assert_eq!(sooner.leave_by, Some(began + 5 * SECOND));
        orders.force(SECOND);
        watch.tighter_than(sooner).await;
        let forced = Order { leave_by: Some(began + 5 * SECOND), force: true, spent: false };
        assert_eq!(watch.current(), forced);
        watch.out_of_time().await;
        assert_eq!(Instant::now(), began);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_ends_a_moment_before_the_budget_and_stays_over() {
        let ordered = Ordered::new("s");
        let orders = ordered.orders();
        orders.leave_within(2 * SECOND);
        let _entered = ordered.enter();
        let (watch, began) = (orders.watch(), Instant::now());
        assert!(!watch.current().is_over());
        watch.out_of_time().await;
        assert!(watch.current().is_over());
        assert_eq!(began.elapsed(), 2 * SECOND - REPORT_RESERVE);
        tokio::time::advance(SECOND).await;
        let over = watch.current();
        assert!(over.force && over.spent && over.leave_by == Some(Instant::now()));
        assert!(watch.tighter_than(over).now_or_never().is_none(), "a loop does not spin");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_longer_than_a_moment_follows_a_tighter_order() {
        let ordered = Ordered::new("s");
        let orders = ordered.orders();
        let _entered = ordered.enter();
        let (watch, began) = (orders.watch(), Instant::now());
        let forever = std::future::pending::<()>;
        orders.leave_within(9 * SECOND);
        assert_eq!(watch.in_time(async { 1 }).await, Some(1));
        let tighten = async {
            tokio::time::sleep(SOON / 2).await;
            orders.leave_within(2 * SECOND);
        };
        assert_eq!(tokio::join!(watch.in_time(forever()), tighten).0, None);
        assert_eq!(began.elapsed(), SOON / 2 + 2 * SECOND - REPORT_RESERVE);

        let (began, watch) = (Instant::now(), orders.watch());
        assert_eq!(watch.in_time(async { 1 }).await, None, "nothing is begun after the end");
        let ordered = Ordered::new("t");
        let orders = ordered.orders();
        let _entered = ordered.enter();
        let watch = orders.watch();
        let force = async { orders.force(SECOND) };
        assert_eq!(tokio::join!(watch.in_time(forever()), force).0, None);
        assert_eq!(began.elapsed(), SOON);
    }

    #[tokio::test(start_paused = true)]
    async fn force_alone_is_an_order_to_leave() {
        let ordered = Ordered::new("s");
        let orders = ordered.orders();
        let _entered = ordered.enter();
        orders.force(SECOND);
        let watch = orders.watch();
        assert!(watch.is_asked_to_leave());
        let order = Order { leave_by: Some(Instant::now() + SECOND), force: true, spent: false };
        assert_eq!(watch.current(), order);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_ends_after_an_order_has_the_time_of_the_order() {
        let ordered = Ordered::new("s");
        let orders = ordered.orders();
        let _entered = ordered.enter();
        let (watch, _start) = orders.watch().of_start("s");
        orders.leave_within(3 * SECOND);
        let ordered = watch.current();
        tokio::time::advance(SECOND).await;
        watch.end_start(9 * SECOND);
        assert_eq!(watch.current(), ordered);
        watch.end_start(SECOND);
        assert_eq!(watch.current(), ordered, "and its end is not made earlier either");
        orders.leave_within(SECOND);
        assert!(watch.tighter_than(ordered).now_or_never().is_some());
    }
}
