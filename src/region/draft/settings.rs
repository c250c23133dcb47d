//! The kind and the times with which a region without a node was made.

use crate::region::kind::Kind;
use std::time::{Duration, Instant};

/// The kind and the times of a region.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(super) kind: Kind,
    pub(super) deadline: Option<Instant>,
    pub(super) timeout: Option<Duration>,
}

pub(crate) trait Set {
    fn get(&self) -> Settings;
}

impl Set for Settings {
    #[inline]
    fn get(&self) -> Settings {
        *self
    }
}

/// The settings of a stack. It has no times of its own, and with a grace it has its node from the start. Room for times would make
/// a stack 40 bytes larger, and with it each error that hands a stack back.
pub(crate) struct OfStack;

impl Set for OfStack {
    #[inline]
    fn get(&self) -> Settings {
        Settings { kind: Kind::Stack, deadline: None, timeout: None }
    }
}
