//! A scan of all regions and exits in the register.
//!
//! The scan holds references to regions meanwhile, while other threads may leave the regions and drop theirs. The drop
//! of a region's content is user code, so it comes after the scan (R18); so does every call of a clock.

use super::scans::SCANS;
use super::shown::{RUNNING, ShownExit};
use super::{OPEN, exits_of, number_of};
use crate::clock::Clock;
use crate::identity::TaskId;
use crate::reason::Reason;
use crate::region::flags::{CANCELLED, LEFT, SHIELD, TIMELESS};
use crate::region::kind::Kind;
use crate::region::node::Node;
use crate::region::owner;
use crate::region::phase::Phase;
use crate::region::walk;
use crate::rt;
use crate::sync::Arc;
use crate::unwind;
use std::collections::HashMap;
use std::panic::Location;
use std::time::Instant;

/// The open regions, and the exits that run.
#[derive(Default)]
pub(crate) struct Scan {
    /// Numbers are in the order of entering.
    pub(crate) regions: Vec<Found>,
    pub(crate) exits: Vec<FoundExit>,
    pub(crate) clocks: Clocks,
}

/// An open region, as a scan finds it.
pub(crate) struct Found {
    /// Numbers are in the order of entering, and no two regions have the same.
    pub(crate) number: u64,
    /// The number of the nearest live region around it.
    pub(crate) parent: Option<u64>,
    /// Of a child: the number of its group, which may no longer be in the register.
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
    /// Whether it is a group that has children after its run was dropped.
    pub(crate) left: bool,
    pub(crate) deadline: Option<Instant>,
    /// The end of the grace that runs.
    pub(crate) grace: Option<Instant>,
    /// The index of the clock of those times.
    pub(crate) clock: usize,
    pub(crate) exits: usize,
}

/// An exit that has begun and not ended.
pub(crate) struct FoundExit {
    /// The number of the region that runs it; `None` if an executor runs it and no region is around.
    pub(crate) region: Option<u64>,
    /// Whether that is another region than the one in which it was registered.
    pub(crate) adopted: bool,
    pub(crate) home: String,
    pub(crate) owner: Option<TaskId>,
    pub(crate) entered_at: Option<&'static Location<'static>>,
    pub(crate) running: ShownExit,
    /// The number of exits that come after it.
    pub(crate) rest: usize,
    pub(crate) clock: usize,
}

/// The clocks of the regions and exits, each read once.
#[derive(Default)]
pub(crate) struct Clocks(Vec<Option<Arc<dyn Clock>>>);

impl Clocks {
    /// The present instant of each clock; `None` for a clock that panics.
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

/// The values that all regions of a task share.
struct OfTask {
    owner: Option<TaskId>,
    /// Looked up for the first region that needs it.
    clock: Option<usize>,
}

/// The number of the nearest fitting region, by the region at which the search for it came past. Thus the searches of
/// one scan pass each region once, however many regions are inside it.
type Nearest = HashMap<*const Node, Option<u64>>;

/// The state of one scan.
#[derive(Default)]
struct Scanner {
    tasks: HashMap<(u64, u64), OfTask>,
    live: Nearest,
    running: Nearest,
    clocks: Clocks,
    held: Vec<Arc<Node>>,
}

/// The open regions and the running exits.
pub(crate) fn found() -> Scan {
    let (mut scan, dead) = {
        let _scan = SCANS.read();
        let open: Vec<_> = OPEN.read().iter().filter_map(|(_, node)| node.upgrade()).collect();
        let mut scanner = Scanner { clocks: Clocks(vec![None]), ..Scanner::default() };
        let mut scan = Scan::default();
        scan.regions.reserve(open.len());
        scan.regions.extend(open.iter().filter_map(|node| scanner.region(node)));
        let running: Vec<_> = RUNNING.read().iter().map(|(_, exit)| exit.clone()).collect();
        scan.exits.extend(running.into_iter().filter_map(|exit| scanner.exit(exit)));
        scanner.held.extend(open);
        scan.clocks = scanner.clocks;
        (scan, let_go(scanner.held))
    };
    // After the scan (invariant 3 of `register`).
    unwind::drop_each(dead).into_iter().for_each(unwind::discard);
    scan.regions.sort_unstable_by_key(|region| region.number);
    scan
}

impl Scanner {
    fn region(&mut self, node: &Arc<Node>) -> Option<Found> {
        let owner = self.task(node).owner.clone();
        let parent = around(node, &mut self.live, &mut self.held, |around| !around.has(LEFT));
        let mut found = {
            let inner = node.inner.lock();
            let rest = inner.rest_seen()?;
            let entry = &rest.entry;
            let (entered, (phase, since)) = (entry.entered?, entry.phase?);
            let is_cancelled = node.has(CANCELLED);
            let may_expire = node.flags() & (CANCELLED | TIMELESS) == 0;
            let shield_due = rest.times.shield_due.as_ref().filter(|_| node.has(SHIELD));
            let stop_due = rest.times.stop_due.filter(|_| may_expire);
            let graces = [stop_due, shield_due.map(|(_, due)| *due)];
            Found {
                number: entry.number,
                parent,
                group: entry.group,
                kind: node.kind,
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
                deadline: inner.deadline.filter(|_| may_expire),
                grace: graces.into_iter().flatten().min().filter(|_| !is_cancelled),
                clock: 0,
                exits: entry.exits,
            }
        };
        if found.deadline.is_some() || found.grace.is_some() {
            found.clock = self.clock(node);
        }
        Some(found)
    }

    fn exit(&mut self, running: ShownExit) -> Option<FoundExit> {
        let home = running.home.upgrade()?;
        let owner = self.task(&home).owner.clone();
        let runs = |node: &Arc<Node>| !node.has(LEFT) && node.is_open();
        let adopted = home.has(LEFT);
        let exit = FoundExit {
            // An adopted exit was handed over to a region around.
            region: match adopted {
                true => around(&home, &mut self.running, &mut self.held, runs),
                false => number_of(&home),
            },
            adopted,
            home: owner::describe(&home),
            owner,
            entered_at: home.entered_at(),
            rest: if adopted { running.rest } else { exits_of(&home) },
            clock: if running.due.is_some() { self.clock(&home) } else { 0 },
            running,
        };
        self.held.push(home);
        Some(exit)
    }

    /// The values of the node's task. They are kept, so that a task's name is not searched from each of its regions.
    fn task(&mut self, node: &Node) -> &mut OfTask {
        let owner = node.owner.get();
        let held = &mut self.held;
        self.tasks.entry((owner.task, owner.runtime)).or_insert_with(|| {
            let owner = owner::id_past(node, |node| held.push(Arc::clone(node)));
            OfTask { owner, clock: None }
        })
    }

    /// The index of the clock by which `node` is timed; 0 is the runtime's clock.
    fn clock(&mut self, node: &Arc<Node>) -> usize {
        if !node.is_clocked() {
            return 0;
        }
        if let Some(clock) = self.task(node).clock {
            return clock;
        }
        // Only tasks are given a clock, so all regions of a task have the same.
        let given = node.given_clock().or_else(|| {
            walk::past_all(node).find_map(|node| {
                let clock = node.given_clock();
                self.held.push(node);
                clock
            })
        });
        let clock = if given.is_some() { self.clocks.0.len() } else { 0 };
        if given.is_some() {
            self.clocks.0.push(given);
        }
        self.task(node).clock = Some(clock);
        clock
    }
}

/// The number of the nearest region around `node` for which `is_it` returns `true`.
fn around(
    node: &Node,
    nearest: &mut Nearest,
    held: &mut Vec<Arc<Node>>,
    is_it: impl Fn(&Arc<Node>) -> bool,
) -> Option<u64> {
    let first = held.len();
    let found = walk::past_all(node).find_map(|around| {
        held.push(Arc::clone(&around));
        if let Some(known) = nearest.get(&Arc::as_ptr(&around)) {
            return Some(*known);
        }
        if is_it(&around) {
            return Some(number_of(&around));
        }
        nearest.insert(Arc::as_ptr(&around), None);
        None
    });
    let found = found.flatten();
    for past in &held[first..] {
        nearest.entry(Arc::as_ptr(past)).and_modify(|number| *number = found);
    }
    found
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
            node.live.give_up();
            dead.push(node);
        }
    }
    dead
}
