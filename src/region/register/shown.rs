//! The register of running exits: an exit that is pending at its first poll is listed until it ends.

use super::listed::Listed;
use super::{Interval, is_recording, keep_interval};
use crate::reason::Leaving;
use crate::region::node::Node;
use crate::region::owner;
use crate::sync::{Arc, Global, Weak};
use slab::Slab;
use std::panic::Location;
use std::time::Instant;

pub(super) static RUNNING: Global<Slab<ShownExit>> = Global::new(Slab::new());

/// An exit that has begun and not ended.
#[derive(Clone)]
pub(crate) struct ShownExit {
    /// The region in which it was registered.
    pub(in crate::region) home: Weak<Node>,
    pub(crate) registered_at: &'static Location<'static>,
    pub(crate) since: Instant,
    /// Its number among the exits of its region, from 1, in the order in which they run.
    pub(crate) number: usize,
    /// The number of exits that come after it, once its region has given them away.
    pub(in crate::region) rest: usize,
    pub(crate) why: Leaving,
    /// The instant at which it is cut off.
    pub(crate) due: Option<Instant>,
}

/// Adds `begun` to the number of exits of `home` that have begun; returns the sum.
pub(in crate::region) fn count_begun(home: &Node, begun: usize) -> usize {
    let mut inner = home.inner.lock();
    let entry = &mut inner.rest().entry;
    entry.begun += begun;
    entry.begun
}

pub(in crate::region) fn show_exit(
    home: &Arc<Node>,
    registered_at: &'static Location<'static>,
    why: &Leaving,
    number: usize,
) -> Listed {
    let shown = ShownExit {
        home: Arc::downgrade(home),
        registered_at,
        since: Instant::now(),
        number,
        rest: 0,
        why: why.clone(),
        due: None,
    };
    Listed::new(RUNNING.write().insert(shown), end)
}

pub(in crate::region) fn comes_before(exit: &Listed, exits: usize) {
    RUNNING.write()[exit.key()].rest = exits;
}

pub(in crate::region) fn note_due(exit: &Listed, due: Instant) {
    RUNNING.write()[exit.key()].due = Some(due);
}

fn end(key: usize) {
    let exit = RUNNING.write().remove(key);
    if !is_recording() {
        return;
    }
    let home = exit.home.upgrade();
    keep_interval(Interval {
        label: format!(
            "exit of {}",
            home.as_ref().map_or("a region".into(), |home| owner::describe(home))
        ),
        owner: home.as_ref().and_then(|home| owner::id(home)),
        at: Some(exit.registered_at),
        began: exit.since,
        ended: Some(Instant::now()),
    });
}
