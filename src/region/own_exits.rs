//! The cell in which a stack keeps the exits that it has not begun (R14).
//!
//! # Invariants
//!
//! 1. The cell stands beside the stack's node: other regions never look for exits there. An exit is added under the cell's
//!    lock, after `LEFT` of the node was read; `LEFT` is set under both locks. So a stack that was left has no exits, and gets
//!    none (invariant 2 of the room).
//! 2. The node's lock may be taken while the cell's lock is held, and not the other way round.

use super::exits::{Exit, Exits};
use super::flags::{INBOX, LEFT};
use super::node::Node;
use super::observe;
use super::owner;
use crate::sync::{AtomicU64, Mutex, Ordering, next_number};

/// The cell in which a stack keeps its exits.
#[derive(Default)]
pub(crate) struct OwnExits {
    pub(super) list: Mutex<Exits>,
    /// The number by which the exits are sorted among those of other regions of the task; 0 before the stack is entered.
    number: AtomicU64,
}

impl OwnExits {
    /// The stack is entered: numbers grow, so a stack that is entered later has a larger one (R7).
    #[inline]
    pub(crate) fn enter(&self) {
        if self.number() == 0 {
            self.enter_anew();
        }
    }

    /// As [`enter`](OwnExits::enter), for a stack that was handed over.
    pub(crate) fn enter_anew(&self) {
        self.number.store(next_number(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Registers the exit that `make` makes of `value`, or hands `value` back if the stack of `node` was left.
    /// `make` only moves and boxes, so it runs no user code.
    pub(crate) fn push<T>(
        &self,
        node: &Node,
        value: T,
        make: impl FnOnce(T) -> Exit,
    ) -> Result<(), T> {
        let mut list = self.list.lock();
        if node.has(LEFT) {
            return Err(value);
        }
        list.push(make(value));
        observe::exits(node, list.len());
        Ok(())
    }

    /// The exit that was registered last, unless there are exits in the inbox of `node`, which come first.
    pub(super) fn pop(&self, node: &Node) -> Option<Exit> {
        let mut list = self.list.lock();
        let exit = if node.has(INBOX) { None } else { list.pop() };
        observe::exits(node, list.len());
        exit
    }

    /// Moves the exits of the stack of `from` to a new stack that has none; `to` is that stack's node.
    pub(crate) fn move_to(&self, other: &OwnExits, from: &Node, to: &Node) {
        let exits = std::mem::take(&mut *self.list.lock());
        observe::exits(from, 0);
        observe::exits(to, exits.len());
        *other.list.lock() = exits;
        owner::lend_settings(from, to);
    }

    pub(crate) fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// As [`len`](OwnExits::len); `None` while another thread has the lock.
    pub(crate) fn len_now(&self) -> Option<usize> {
        Some(self.list.try_lock()?.len())
    }
}
