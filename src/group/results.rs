//! The outcomes of children, in the order in which they end.

use super::gate::Core;
use super::side::Ending;
use crate::identity::TaskId;
use crate::opaque::opaque;
use crate::reason::Reason;
use crate::sync::{Arc, Mutex};
use futures_core::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The end of a child. Its value goes to its handle, its error to the group's failure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned a value.
    Completed,
    /// It returned an error.
    Failed,
    /// It was cancelled before it had a value.
    Cancelled(Reason),
    /// It panicked.
    Panicked,
}

impl Outcome {
    pub(super) fn of<T>(ending: &Ending<T>) -> Self {
        match ending {
            Ending::Value(_) => Outcome::Completed,
            Ending::Failed => Outcome::Failed,
            Ending::Cancelled(reason) => Outcome::Cancelled(reason.clone()),
            Ending::Panicked(_) => Outcome::Panicked,
        }
    }
}

/// The stream of [`TaskGroup::results`](crate::TaskGroup::results): children in the order in which they
/// end, from when the stream was made.
///
/// It yields `None` when nothing is buffered and no child is inside, and may yield more after another one
/// was spawned.
///
/// # Cancel safety
///
/// Dropping a pending `next` loses nothing.
///
/// # On drop
///
/// The buffered outcomes are dropped, and no more are buffered (R19).
#[must_use = "streams do nothing unless polled, and buffer until they are dropped"]
pub struct Results {
    channel: Arc<Channel>,
    gate: Arc<Core>,
}

#[derive(Default)]
pub(super) struct Channel(Mutex<Buffer>);

#[derive(Default)]
struct Buffer {
    ended: VecDeque<(TaskId, Outcome)>,
    reader: Option<Waker>,
}

impl Channel {
    pub(super) fn push(&self, task: TaskId, outcome: Outcome) {
        self.0.lock().ended.push_back((task, outcome));
    }

    pub(super) fn wake(&self) {
        let reader = self.0.lock().reader.take();
        crate::wakers::wake_all(reader);
    }
}

impl Results {
    pub(super) fn new(channel: Arc<Channel>, gate: Arc<Core>) -> Self {
        Results { channel, gate }
    }
}

impl Stream for Results {
    type Item = (TaskId, Outcome);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let waker = cx.waker().clone();
        // Registered before the gate is asked: a child that leaves later wakes the reader.
        let (ended, old) = {
            let mut buffer = self.channel.0.lock();
            match buffer.ended.pop_front() {
                Some(ended) => (Some(ended), Some(waker)),
                None => (None, buffer.reader.replace(waker)),
            }
        };
        drop(old);
        if ended.is_some() {
            return Poll::Ready(ended);
        }
        if self.gate.open() > 0 {
            return Poll::Pending;
        }
        // Before the gate was asked the last child may have left its outcome. The waker is dropped, because the reader's
        // task may own this stream.
        let (ended, reader) = {
            let mut buffer = self.channel.0.lock();
            (buffer.ended.pop_front(), buffer.reader.take())
        };
        drop(reader);
        Poll::Ready(ended)
    }
}

opaque!(Results);
