//! The state that a node or an exit keeps for `inspect`. It knows no node.

use crate::region::phase::Phase;
use std::time::Instant;

/// The key of a region or of a running exit in its register. When it is dropped, the register forgets the entry: this takes
/// the register's lock, so it is dropped outside the lock of a node.
pub(in crate::region) struct Listed {
    key: usize,
    forget: fn(usize),
}

impl Listed {
    pub(super) fn new(key: usize, forget: fn(usize)) -> Self {
        Listed { key, forget }
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        (self.forget)(self.key);
    }
}

/// The state that a node keeps for `inspect`.
#[derive(Default)]
pub(in crate::region) struct Entry {
    pub(super) listed: Option<Listed>,
    /// Numbers are in the order of entering.
    pub(super) number: u64,
    /// Of a child: the number of its group.
    pub(super) group: Option<u64>,
    pub(super) entered: Option<Instant>,
    pub(super) phase: Option<(Phase, Instant)>,
    /// The number of its exits that have begun, and of those that have not.
    pub(super) begun: usize,
    pub(super) exits: usize,
    /// Of a group: whether it stays in the register after its run was dropped, because children have not left.
    pub(super) kept: bool,
}
