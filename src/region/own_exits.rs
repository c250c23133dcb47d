//! The cell in which a stack keeps the exits that it has not begun (R14).
//!
//! # Invariants
//!
//! 1. The cell stands beside the stack's node: other regions never look for exits there. It is closed under its lock, while it is
//!    empty or as its exits are taken. In the same step the stack ends: its node gets `LEFT`, under the lock of the node; or, if
//!    it has no node, its stamp. So a stack that was left has no exits, and gets none (invariant 2 of the room).
//! 2. The node's lock may be taken while the cell's lock is held, and not the other way round.
//! 3. `owner` is the owner of the stack once it is entered. A stack is handed over by value, so no thread reads `owner`
//!    meanwhile.

use super::ambient;
use super::exits::{Exit, Exits};
use super::flags::INBOX;
use super::node::Node;
use super::observe;
use crate::identity::{Identity, SharedIdentity};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, next_number};

/// The cell in which a stack keeps its exits.
pub(crate) struct OwnExits {
    pub(super) list: Mutex<Unbegun>,
    /// The number by which the exits are sorted among those of other regions of the task; 0 before the stack is entered.
    number: AtomicU64,
    owner: SharedIdentity,
}

#[derive(Default)]
pub(super) struct Unbegun {
    exits: Exits,
    /// The stack was left.
    closed: bool,
}

impl Unbegun {
    pub(super) fn is_empty(&self) -> bool {
        self.exits.is_empty()
    }

    /// Closes the list, and takes its exits.
    pub(super) fn close(&mut self) -> Exits {
        self.closed = true;
        std::mem::take(&mut self.exits)
    }
}

impl OwnExits {
    #[inline]
    pub(crate) fn new() -> Self {
        OwnExits {
            list: Mutex::default(),
            number: AtomicU64::new(0),
            owner: SharedIdentity::new(Identity::UNKNOWN),
        }
    }

    /// The stack is entered by `owner`, or belongs to it now (invariant 3). Numbers grow: a stack that is entered later has a
    /// larger one (R7, invariant 6 of the room).
    #[inline]
    pub(crate) fn enter(&self, owner: Identity) {
        self.owner.set(owner);
        if self.number() == 0 {
            self.number.store(next_number(), Ordering::Relaxed);
        }
    }

    /// As [`enter`](OwnExits::enter), for a stack that was handed over.
    pub(crate) fn enter_anew(&self, owner: Identity) {
        self.number.store(0, Ordering::Relaxed);
        self.enter(owner);
    }

    pub(crate) fn owner(&self) -> Identity {
        self.owner.get()
    }

    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Whether the current task is known to be the owner of the stack.
    #[inline]
    pub(crate) fn is_current_tasks(&self) -> bool {
        let task = self.owner.task();
        task != 0 && task == ambient::task()
    }

    /// Registers the exit that `make` makes of `value`, or hands `value` back if the stack was left. `node` is the stack's, if
    /// it has one. `make` only moves and boxes, so it runs no user code.
    #[inline]
    pub(crate) fn push<T>(
        &self,
        node: Option<&Arc<Node>>,
        value: T,
        make: impl FnOnce(T) -> Exit,
    ) -> Result<(), T> {
        let mut list = self.list.lock();
        if list.closed {
            return Err(value);
        }
        list.exits.push(make(value));
        if let Some(node) = node {
            observe::exits(node, list.exits.len());
        }
        Ok(())
    }

    /// Takes one exit after the other, last one first, as long as none is in the inbox of `node`, because those come first.
    /// After the exit that was the only one it takes none, and no lock: the close finds an exit that came later.
    /// A flag of the node is read under the lock of the cell (invariant 2), and the next step to leave reads it under both locks.
    #[inline(always)]
    pub(super) fn take_each(&self, node: Option<&Node>) -> impl FnMut() -> Option<Exit> {
        let mut others = true;
        move || {
            let mut list = if others { self.list.lock() } else { return None };
            if node.is_some_and(|node| node.has(INBOX)) {
                return None;
            }
            let exit = list.exits.pop();
            others = !list.exits.is_empty();
            if let Some(node) = node {
                observe::exits(node, list.exits.len());
            }
            exit
        }
    }

    /// Closes the cell of a stack without a node, if it is empty; `leave` marks the stack as left (invariant 1).
    pub(super) fn close_light(&self, leave: impl FnOnce()) -> bool {
        let mut list = self.list.lock();
        if list.is_empty() {
            list.closed = true;
            leave();
        }
        list.closed
    }

    /// Moves the exits to a new stack that has none. The nodes are those of the two stacks, as far as they have one.
    pub(crate) fn move_to(&self, other: &OwnExits, from: Option<&Arc<Node>>, to: &Node) {
        let exits = std::mem::take(&mut self.list.lock().exits);
        observe::exits(to, exits.len());
        other.list.lock().exits = exits;
        // A stack without a node has neither a name nor a grace.
        if let Some(from) = from {
            observe::exits(from, 0);
            from.lend_settings(to);
        }
    }

    /// Without a lock, for a stack that nobody else uses any more.
    pub(crate) fn is_empty_now(&mut self) -> bool {
        self.list.get_mut().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.lock().exits.len()
    }

    /// As [`len`](OwnExits::len); `None` while another thread has the lock.
    pub(crate) fn len_now(&self) -> Option<usize> {
        Some(self.list.try_lock()?.exits.len())
    }
}
