//! The orders to a session's owner, from any task, and the owner's view of them.
//!
//! An order only ever tightens: a deadline comes nearer, force is never taken back. So every wait inside an owner can
//! use the newest order, independent of its source and of the number of orders before.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The newest order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Order {
    /// Leave, and have left by this time.
    pub(crate) leave_by: Option<Instant>,
    /// Kill at once and send no more requests.
    pub(crate) force: bool,
}

/// The time that is kept free at the end of the budget, for the report.
const REPORT_RESERVE: Duration = Duration::from_millis(100);

impl Order {
    /// The end of the last wait for a server: a moment before the deadline.
    pub(crate) fn end(self) -> Option<Instant> {
        self.leave_by.map(|deadline| deadline.checked_sub(REPORT_RESERVE).unwrap_or(deadline))
    }
}

/// The side that gives orders; any task may hold it.
#[derive(Debug)]
pub(crate) struct Orders(watch::Sender<Order>);

/// The owner's side.
#[derive(Debug, Clone)]
pub(crate) struct OrderWatch(watch::Receiver<Order>);

impl Orders {
    /// A pair without an order.
    pub(crate) fn new() -> (Self, OrderWatch) {
        let (sender, receiver) = watch::channel(Order::default());
        (Self(sender), OrderWatch(receiver))
    }

    /// Asks to have left by `deadline`; an earlier deadline stands.
    pub(crate) fn leave_by(&self, deadline: Instant) {
        self.0.send_if_modified(|order| {
            let nearer = order.leave_by.is_none_or(|current| deadline < current);
            if nearer {
                order.leave_by = Some(deadline);
            }
            nearer
        });
    }

    /// Asks to kill at once. If there was no order to leave, this is one.
    pub(crate) fn force(&self, deadline: Instant) {
        self.0.send_if_modified(|order| {
            let first = !order.force;
            order.force = true;
            order.leave_by.get_or_insert(deadline);
            first
        });
    }
}

impl OrderWatch {
    /// The newest order.
    pub(crate) fn current(&self) -> Order {
        *self.0.borrow()
    }

    /// Ready once there is an order to leave. If the other side is gone, the owner leaves too, within `budget`.
    pub(crate) async fn asked_to_leave(&mut self, budget: Duration) -> Instant {
        match self.0.wait_for(|order| order.leave_by.is_some()).await {
            Ok(order) => order.leave_by.unwrap_or_else(|| Instant::now() + budget),
            Err(_) => Instant::now() + budget,
        }
    }

    /// Ready when the order has become tighter than `seen`; never if no side is left that could
    /// tighten it.
    pub(crate) async fn tighter_than(&mut self, seen: Order) {
        if self.0.wait_for(|order| *order != seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
