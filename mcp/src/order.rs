//! The orders to a session's owner, from any task, and the owner's view of them.
//!
//! An order only ever tightens: a deadline comes nearer, force is never taken back. So every wait inside an owner can
//! use the newest order, independent of its source and of the number of orders before.

use std::sync::{Arc, OnceLock};
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
pub(crate) struct OrderWatch {
    orders: watch::Receiver<Order>,
    /// The deadline for leaving one start of a server that has ended without an order.
    end: Arc<OnceLock<Instant>>,
}

impl Orders {
    /// A pair without an order.
    pub(crate) fn new() -> (Self, OrderWatch) {
        let (sender, receiver) = watch::channel(Order::default());
        (Self(sender), OrderWatch { orders: receiver, end: Arc::default() })
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
    /// A watch on the same orders for one start of a server.
    pub(crate) fn of_start(&self) -> Self {
        Self { orders: self.orders.clone(), end: Arc::default() }
    }

    /// The start has ended and has to be left by `deadline`. Called once, before the first exit runs.
    pub(crate) fn end_start(&self, deadline: Instant) {
        self.end.get_or_init(|| deadline);
    }

    /// The newest order.
    pub(crate) fn current(&self) -> Order {
        merged(*self.orders.borrow(), &self.end)
    }

    /// Whether there is an order to leave.
    pub(crate) fn is_asked_to_leave(&self) -> bool {
        self.orders.borrow().leave_by.is_some()
    }

    /// Ready once there is an order to leave. If the other side is gone, the owner leaves too, within `budget`.
    pub(crate) async fn asked_to_leave(&mut self, budget: Duration) -> Instant {
        match self.orders.wait_for(|order| order.leave_by.is_some()).await {
            Ok(order) => order.leave_by.unwrap_or_else(|| Instant::now() + budget),
            Err(_) => Instant::now() + budget,
        }
    }

    /// Ready when the order has become tighter than `seen`; never if no side is left that could
    /// tighten it.
    pub(crate) async fn tighter_than(&mut self, seen: Order) {
        let end = self.end.clone();
        if self.orders.wait_for(|order| merged(*order, &end) != seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// An order with the deadline of the start that obeys it.
fn merged(order: Order, end: &OnceLock<Instant>) -> Order {
    let ends = order.leave_by.into_iter().chain(end.get().copied());
    Order { leave_by: ends.min(), force: order.force }
}
