//! A look at everything that is in the register.
//!
//! What is looked at is held meanwhile, and may be left and let go of by everybody else. The drop of what a region owns is
//! user code, so it comes after the look (R18); so does every question to a clock.

use super::shown::{RUNNING, Running};
use super::{OPEN, number_of};
use crate::clock::Clock;
use crate::identity::TaskId;
use crate::reason::Reason;
use crate::region::observe::Phase;
use crate::region::{ATTENDED, CANCELLED, Kind, LEFT, Node, SHIELD};
use crate::rt;
use crate::sync::{Arc, Looks, Weak};
use crate::unwind;
use std::collections::HashMap;
use std::panic::Location;
use std::time::Instant;

/// What is open.
#[derive(Default)]
pub(crate) struct Look {
    /// Numbers are in the order of entering.
    pub(crate) regions: Vec<Found>,
    pub(crate) exits: Vec<FoundExit>,
    pub(crate) clocks: Clocks,
}

/// An open region, as a look finds it.
pub(crate) struct Found {
    /// Numbers are in the order of entering, and no two regions have the same.
    pub(crate) number: u64,
    /// The number of the nearest live region around it.
    pub(crate) parent: Option<u64>,
    /// Of a child, that of its group, which may not be in the register any more.
    pub(crate) group: Option<u64>,
    pub(crate) kind: Kind,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) owner: Option<TaskId>,
    pub(crate) entered_at: Option<&'static Location<'static>>,
    pub(crate) entered: Instant,
    pub(crate) phase: Phase,
    pub(crate) since: Instant,
    pub(crate) cancelled: Option<Reason>,
    pub(crate) stopped: Option<Reason>,
    pub(crate) shielded: bool,
    /// A group whose run was dropped, and which has children.
    pub(crate) left: bool,
    pub(crate) deadline: Option<Instant>,
    /// When the grace that runs is over.
    pub(crate) grace: Option<Instant>,
    /// By which clock those are.
    pub(crate) clock: usize,
    pub(crate) exits: usize,
}

/// An exit that has begun and not ended.
pub(crate) struct FoundExit {
    /// The number of the region that runs it; `None` where an executor does, and no region is around.
    pub(crate) region: Option<u64>,
    /// Whether that is not the region that it was registered in.
    pub(crate) adopted: bool,
    pub(crate) home: String,
    pub(crate) owner: Option<TaskId>,
    pub(crate) entered_at: Option<&'static Location<'static>>,
    pub(crate) running: Running,
    /// How many come after it.
    pub(crate) rest: usize,
    pub(crate) clock: usize,
}

/// The clocks of what was found, each asked once.
#[derive(Default)]
pub(crate) struct Clocks(Vec<Option<Arc<dyn Clock>>>);

impl Clocks {
    /// What each shows now; nothing where one panics.
    pub(crate) fn now(&self) -> Vec<Option<Instant>> {
        let now = |clock: &Option<Arc<dyn Clock>>| {
            unwind::catch(|| clock.as_ref().map_or_else(rt::now, |clock| clock.now()))
        };
        self.0.iter().map(|clock| now(clock).map_err(unwind::discard).ok()).collect()
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        unwind::drop_each_quietly(std::mem::take(&mut self.0));
    }
}

/// What is the same for all regions of a task.
struct OfTask {
    owner: Option<TaskId>,
    /// Found when a region asks.
    clock: Option<usize>,
}

/// Who looks, and what it holds.
struct Lookout {
    tasks: HashMap<(u64, u64), OfTask>,
    clocks: Clocks,
    held: Vec<Arc<Node>>,
}

/// Everything in the register.
pub(crate) fn found() -> Look {
    let (mut look, dead) = {
        let _look = LOOKS.join();
        let open: Vec<_> = OPEN.all().iter().filter_map(Weak::upgrade).collect();
        let mut lookout =
            Lookout { tasks: HashMap::new(), clocks: Clocks(vec![None]), held: Vec::new() };
        let mut look = Look::default();
        look.regions.reserve(open.len());
        look.regions.extend(open.iter().filter_map(|node| lookout.region(node)));
        look.exits.extend(RUNNING.all().into_iter().filter_map(|exit| lookout.exit(exit)));
        lookout.held.extend(open);
        look.clocks = lookout.clocks;
        (look, let_go(lookout.held))
    };
    unwind::drop_each(dead).into_iter().for_each(unwind::discard);
    look.regions.sort_unstable_by_key(|region| region.number);
    look
}

impl Lookout {
    fn region(&mut self, node: &Arc<Node>) -> Option<Found> {
        let owner = self.task(node).owner.clone();
        let around = self.around(node, |around| !around.has(LEFT));
        let parent = around.as_deref().and_then(number_of);
        self.held.extend(around);
        let mut found = {
            let inner = node.inner.lock();
            let rest = inner.rest_seen()?;
            let entry = &rest.entry;
            let (entered, (phase, since)) = (entry.entered?, entry.phase?);
            let is_cancelled = node.has(CANCELLED);
            let shield_due = rest.shield_due.as_ref().filter(|_| node.has(SHIELD));
            let graces = [rest.stop_due, shield_due.map(|(_, due)| *due)];
            Found {
                number: entry.number,
                parent,
                group: entry.group,
                kind: node.kind(),
                name: rest.name.clone(),
                owner,
                entered_at: inner.entered_at,
                entered,
                phase,
                since,
                cancelled: inner.reason().filter(|_| is_cancelled).cloned(),
                stopped: rest.stop.clone(),
                shielded: node.has(SHIELD),
                left: entry.kept,
                deadline: inner
                    .more
                    .as_ref()
                    .and_then(|more| more.deadline)
                    .filter(|_| !is_cancelled),
                grace: graces.into_iter().flatten().min().filter(|_| !is_cancelled),
                clock: 0,
                exits: inner.exits(),
            }
        };
        if found.deadline.is_some() || found.grace.is_some() {
            found.clock = self.clock(node);
        }
        Some(found)
    }

    fn exit(&mut self, running: Running) -> Option<FoundExit> {
        let home = running.home.upgrade()?;
        let owner = self.task(&home).owner.clone();
        let runs = |node: &Arc<Node>| {
            !node.has(LEFT) && (node.has(ATTENDED) || node.kind() == Kind::Group)
        };
        let adopted = home.has(LEFT);
        // As it was handed over.
        let region = if adopted { self.around(&home, runs) } else { Some(Arc::clone(&home)) };
        let exit = FoundExit {
            region: region.as_deref().and_then(number_of),
            adopted,
            home: home.describe(),
            owner,
            entered_at: home.entered_at(),
            rest: if adopted { running.rest } else { home.exits() },
            clock: if running.due.is_some() { self.clock(&home) } else { 0 },
            running,
        };
        self.held.extend(region);
        self.held.push(home);
        Some(exit)
    }

    /// The nearest region around `node` that it is.
    fn around(&mut self, node: &Node, is_it: impl Fn(&Arc<Node>) -> bool) -> Option<Arc<Node>> {
        let mut at = node.parent();
        while let Some(past) = at.take_if(|node| !is_it(node)) {
            at = past.parent();
            self.held.push(past);
        }
        at
    }

    /// Kept, so that a task's name is not searched from each of its regions.
    fn task(&mut self, node: &Node) -> &mut OfTask {
        let owner = node.owner();
        let held = &mut self.held;
        self.tasks.entry((owner.task, owner.runtime)).or_insert_with(|| {
            let owner = node.owner_id_past(|node| held.push(node));
            OfTask { owner, clock: None }
        })
    }

    /// The number of the clock that `node` is timed by: 0 is that of the runtime.
    fn clock(&mut self, node: &Arc<Node>) -> usize {
        if !node.is_clocked() {
            return 0;
        }
        if let Some(clock) = self.task(node).clock {
            return clock;
        }
        // Only tasks are given one, so all regions of a task have the same.
        let mut at = Some(Arc::clone(node));
        let mut given = None;
        while let Some(node) = at {
            given = node.given_clock();
            at = if given.is_some() { None } else { node.parent() };
            self.held.push(node);
        }
        let clock = if given.is_some() { self.clocks.0.len() } else { 0 };
        if given.is_some() {
            self.clocks.0.push(given);
        }
        self.task(node).clock = Some(clock);
        clock
    }
}

/// Drops the references in `held`, and returns the regions that have no other: no longer counted, and not dropped
/// yet.
fn let_go(held: Vec<Arc<Node>>) -> Vec<Node> {
    let mut dead = Vec::new();
    for node in held {
        // The region around it may have no other reference, either.
        let mut next = Some(node);
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.inner.get_mut().parent.take();
            #[cfg(feature = "testing")]
            node.count_out();
            dead.push(node);
        }
    }
    dead
}

static LOOKS: Looks = Looks::new();

/// Waits until no look is under way. While the guard is kept, no region is held by a snapshot alone.
#[cfg(feature = "testing")]
#[must_use = "looks go on when it is dropped"]
pub(in crate::region) fn without_looks() -> impl Sized {
    LOOKS.keep_out()
}
