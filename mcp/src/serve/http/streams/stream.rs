//! One stream: its messages, and the connection that reads it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use rmcp::model::ServerJsonRpcMessage;

use super::{COMMON, EVENTS};

/// A message with its number.
type Event = (u64, Arc<ServerJsonRpcMessage>);

/// The messages of one stream. They are numbered from 1.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) number: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The messages that a connection may still ask for, with their numbers.
    events: VecDeque<Event>,
    /// The number of the newest message.
    newest: u64,
    /// The number of the newest message that some connection has read.
    read: u64,
    /// Whether no message follows.
    is_over: bool,
    /// The number of connections that have read the stream. The newest reads on, and the others get nothing more.
    readers: u64,
    waker: Option<Waker>,
}

impl Stream {
    pub(super) fn new(number: u64) -> Arc<Self> {
        Arc::new(Self { number, state: Mutex::default() })
    }

    /// Changes the state, and then lets the connection look again.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let done = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        done
    }

    /// Adds a message, and ends the stream if it `is_last`.
    pub(super) fn push(&self, message: ServerJsonRpcMessage, is_last: bool) {
        let message = Arc::new(message);
        let dropped = self.change(|state| {
            state.newest += 1;
            state.events.push_back((state.newest, message));
            state.is_over |= is_last;
            // The oldest notification goes first: it is the least that a client can miss.
            let is_told = |(_, it): &Event| matches!(**it, ServerJsonRpcMessage::Notification(_));
            let oldest = || state.events.iter().position(is_told).unwrap_or_default();
            let at = (state.events.len() > EVENTS).then(oldest);
            at.and_then(|at| state.events.remove(at))
        });
        drop(dropped);
    }

    /// Ends the stream after the messages that it has.
    pub(super) fn end(&self) {
        self.change(|state| state.is_over = true);
    }

    /// Lets a new connection read. Returns its number, and that of the newest message that was read before. The earlier
    /// connection looks again, and finds that it is not the newest any more.
    pub(super) fn take_over(&self) -> (u64, u64) {
        self.change(|state| {
            state.readers += 1;
            (state.readers, state.read)
        })
    }

    /// The first message after the one with the number `last`, for a connection.
    pub(super) fn poll_next(
        &self,
        reader: u64,
        last: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Event>> {
        let mut state = self.state.lock();
        if reader != state.readers && !state.is_over {
            // A client may have several connections for the common stream, and each message goes to one of them. If the
            // others ended, the client would open them again, without end.
            return if self.number == COMMON { Poll::Pending } else { Poll::Ready(None) };
        }
        let at = state.events.partition_point(|(number, _)| *number <= last);
        if let Some(event) = state.events.get(at).cloned() {
            state.read = state.read.max(event.0);
            return Poll::Ready(Some(event));
        }
        if state.is_over {
            return Poll::Ready(None);
        }
        let before = state.waker.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }
}
