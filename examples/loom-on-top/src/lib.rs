//! A hub that sends each message to every subscriber, until it is closed: a library on top of `moored`, whose races are
//! model-checked together with it.
//!
//! Each subscriber is a child of the hub's group, so that [`Hub::run`] returns when the last one has left. The hub may
//! be closed from any thread, through a [`CancelHandle`]. [`Door::subscribe`] may race with a thread that closes the
//! hub: `tests/race.rs` explores every interleaving of the two.

#![allow(
    clippy::disallowed_types,
    reason = "what is disallowed is to go past moored's door; this library has its own"
)]

mod sync;

use moored::{CancelHandle, Failure, GroupSpawner, TaskGroup};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Poll, Waker};
use sync::Mutex;

/// Sends each message to every subscriber.
#[derive(Debug)]
pub struct Hub {
    group: TaskGroup<'static, Infallible>,
    queues: Queues,
}

/// Subscribes to a [`Hub`] from anywhere.
#[derive(Clone, Debug)]
pub struct Door {
    spawner: GroupSpawner<'static, Infallible>,
    queues: Queues,
}

type Queues = Arc<Mutex<Vec<Arc<Queue>>>>;

#[derive(Debug, Default)]
struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<u32>,
    reader: Option<Waker>,
}

impl Hub {
    /// An open hub without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Hub { group: TaskGroup::new().named("hub"), queues: Queues::default() }
    }

    /// Closes the hub when it is cancelled; may be anywhere.
    pub fn closer(&self) -> CancelHandle {
        self.group.handle()
    }

    /// Subscribes from anywhere.
    pub fn door(&self) -> Door {
        Door { spawner: self.group.spawner(), queues: Arc::clone(&self.queues) }
    }

    /// Runs the subscribers until the hub is closed and the last of them has left.
    ///
    /// # Errors
    ///
    /// Always: that the hub was closed, and why.
    pub async fn run(&self) -> Failure<Infallible> {
        let forever = std::future::pending::<Result<Infallible, Infallible>>();
        match self.group.run(forever).await {
            Ok(never) => match never {},
            Err(closed) => closed,
        }
    }

    /// Sends `message` to every subscriber; returns their number.
    pub fn send(&self, message: u32) -> usize {
        let queues = self.queues.lock().unwrap().clone();
        queues.iter().for_each(|queue| queue.put(message));
        queues.len()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Hub::new()
    }
}

impl Door {
    /// Has `heard` called with each message, until the hub is closed; `false` where it has been closed already.
    pub fn subscribe(&self, mut heard: impl FnMut(u32) + Send + 'static) -> bool {
        let queue: Arc<Queue> = Arc::default();
        let subscription = Subscription { queue, queues: Arc::clone(&self.queues) };
        // In place before the child is: a message that is sent from now on is not missed. A child that never runs,
        // because the hub was closed meanwhile, drops its subscription and so takes the queue out again.
        self.queues.lock().unwrap().push(Arc::clone(&subscription.queue));
        let child = async move {
            loop {
                heard(subscription.queue.next().await);
            }
        };
        self.spawner.spawn::<_, Infallible>(child).is_ok()
    }
}

/// A queue among the hub's, for as long as this lives.
struct Subscription {
    queue: Arc<Queue>,
    queues: Queues,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queues.lock().unwrap().retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

impl Queue {
    fn put(&self, message: u32) {
        let reader = {
            let mut waiting = self.0.lock().unwrap();
            waiting.messages.push_back(message);
            waiting.reader.take()
        };
        // Not under the lock, because a waker is foreign code.
        reader.into_iter().for_each(Waker::wake);
    }

    fn next(&self) -> impl Future<Output = u32> {
        std::future::poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut waiting = self.0.lock().unwrap();
            match waiting.messages.pop_front() {
                Some(message) => Poll::Ready(message),
                None => {
                    let old = waiting.reader.replace(waker);
                    drop(waiting);
                    drop(old);
                    Poll::Pending
                }
            }
        })
    }
}
