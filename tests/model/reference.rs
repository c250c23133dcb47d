//! The reference: it knows the rules, and no futures.
//!
//! Bodies end at once, and regions leave when the exits that they wait for have ended. So every event is determined but
//! the order among unrelated exits. The body of a cancelled region is an exception: it may be dropped at any poll, and
//! must be gone when the program is at rest, unless a shield holds it. The parts:
//!
//! - here, the state of the reference;
//! - [`rules`], [`cancel`] and [`time`], the consequences of an operation: each rule once, with its number, to be read
//!   beside docs/design.md;
//! - [`ops`], the choice of the region or exit that an operation applies to, so that every seed
//!   is a program;
//! - [`oracle`], the comparison of the real program's events with the state here.
//!
//! Some rules are checked by the real program itself: that a foreign task is rejected without a change (R2), and that a
//! request comes from outside every task (R3). That no region lives on (R19) is checked at the end. R18 is checked by
//! callbacks: in wakers and their drops, in drops of bodies, exits and lent values, in exits and in the report hook,
//! the program makes every request to every region, and may wake every body. Under a lock of the crate this would
//! deadlock.
//!
//! Not in the model: graces of stacks, shields that are no longer polled, and entered scopes.

mod cancel;
mod ops;
mod oracle;
mod rules;
mod time;

use super::{Because, End, ExitId, ExitPlan, Kind, Outcome, RegionId, Until, Why};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The body has ended; exits run, children leave.
    Leaving,
    Left,
    /// Dropped instead of left.
    Dropped,
    /// Unowned (R4).
    Released,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shield {
    None,
    Up,
    /// Its grace has begun.
    Falling,
    /// Its grace is over.
    Down,
}

#[derive(Clone, Debug)]
struct Region {
    kind: Kind,
    parent: RegionId,
    /// The region that gives its exits their identity: a root or a child (R5, R8).
    task: RegionId,
    state: State,
    /// The order of entering.
    entered: Option<usize>,
    /// Its own exits, oldest first.
    exits: Vec<ExitId>,
    /// How its body ended by itself.
    end: Option<End>,
    cancelled: Option<Why>,
    /// Of a group: the reason for which its children are cancelled although the group is not,
    /// including children that are spawned later.
    children_cancelled: Option<Why>,
    /// Of a group: whether a cancellation further out reaches it. It does once the group, or a region inside it, has
    /// had children or a shield, or a region inside it has waited for the region that catches.
    found: bool,
    /// The tick of the clock at which its deadline is.
    due: Option<usize>,
    /// Whether it was asked to stop.
    stopped: bool,
    /// The tick at which the stop becomes a cancellation.
    stop_due: Option<usize>,
    /// Of a child: whether it has no handle.
    detached: bool,
    /// Of a group: its guards that are alive.
    guards: usize,
    shield: Shield,
    /// The reason of the cancellation, here or around, under which it was dropped.
    dropped_for: Option<Why>,
    /// The reason that its exits are given.
    because: Option<Because>,
    /// The reason that they may be given instead, if a body that fell with it went just before.
    or_because: Option<Because>,
    /// Whether the cancellation ended the body.
    cut_short: bool,
    /// Whether its body or a child failed.
    failed: bool,
    /// Whether its body, a child, or an exit that it ran panicked.
    panicked: bool,
}

impl Region {
    fn lives(&self) -> bool {
        matches!(self.state, State::Open | State::Leaving)
    }

    fn shields(&self) -> bool {
        matches!(self.shield, Shield::Up | Shield::Falling)
    }

    /// A loose stack has no body.
    fn has_body(&self) -> bool {
        self.state == State::Open && self.kind != Kind::Loose
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Registered,
    Running,
    Ended,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    No,
    /// Its value is lent, and its turn may have come.
    Maybe,
    /// Its turn came while its value was lent; it runs by itself when the value is back.
    Yes,
}

#[derive(Clone, Debug)]
struct Exit {
    region: RegionId,
    plan: ExitPlan,
    stage: Stage,
    /// Whether its gate is open.
    open: bool,
    /// Whether its value is lent.
    out: bool,
    late: Late,
    /// The region that runs it: its own, or the region that has adopted it.
    host: RegionId,
    abandoned: Option<Abandoned>,
}

/// The last event that abandoned an exit.
#[derive(Clone, Debug)]
struct Abandoned {
    event: usize,
    half_way: bool,
}

impl Exit {
    /// Whether a region has to wait for it.
    fn pending(&self) -> bool {
        matches!(self.stage, Stage::Registered | Stage::Running) && !self.out
    }

    fn blocked(&self) -> bool {
        self.stage == Stage::Running && self.plan.gated && !self.open
    }
}

/// A wait from outside for an event of a region.
#[derive(Clone, Debug)]
struct Wait {
    region: RegionId,
    until: Until,
    /// The deadline that the region had when the wait began; `None` if any deadline is waited for.
    seen: Option<usize>,
    ended: bool,
    /// It has ended by its event, in an earlier state of the program.
    answered: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Reference {
    regions: Vec<Region>,
    exits: BTreeMap<ExitId, Exit>,
    next_exit: ExitId,
    next_number: usize,
    events: usize,
    /// The exit of the value that has just come back.
    back: Option<ExitId>,
    requests: usize,
    ticks: usize,
    waits: Vec<Wait>,
    /// Whether the group that was last asked for a guard was open.
    gives_guard: bool,
    expected_still_held: usize,
    root_dropped: bool,
    // The events of the real program.
    bodies_gone: BTreeSet<RegionId>,
    returned: BTreeMap<RegionId, Outcome>,
    told: BTreeMap<String, usize>,
    told_still_held: usize,
    told_or_again: usize,
    told_unclaimed: usize,
    told_lost: usize,
}

impl Reference {
    /// An exit that an exit registers has this number above that of the exit.
    pub(crate) const FOLLOWERS: ExitId = 1000;

    pub(crate) fn new() -> Self {
        let mut reference = Reference::default();
        reference.add_region(Kind::Root, 0);
        reference
    }

    pub(crate) fn newest_region(&self) -> RegionId {
        self.regions.len() - 1
    }

    pub(crate) fn newest_exit(&self) -> ExitId {
        self.next_exit - 1
    }

    pub(crate) fn newest_request(&self) -> usize {
        self.requests
    }

    /// The region in whose body an operation on `region` is carried out.
    pub(crate) fn actor_of(&self, region: RegionId) -> RegionId {
        match self.regions[region].kind {
            Kind::Loose => self.regions[region].parent,
            _ => region,
        }
    }

    pub(crate) fn around(&self, region: RegionId) -> RegionId {
        self.regions[region].parent
    }

    fn add_region(&mut self, kind: Kind, parent: RegionId) {
        let id = self.regions.len();
        let task = match kind {
            Kind::Root | Kind::Child => id,
            _ => self.regions[parent].task,
        };
        self.regions.push(Region {
            kind,
            parent,
            task,
            state: State::Open,
            entered: None,
            exits: Vec::new(),
            end: None,
            cancelled: None,
            children_cancelled: None,
            found: false,
            due: (kind == Kind::Timed).then_some(self.ticks + 1),
            stopped: false,
            stop_due: None,
            detached: false,
            guards: 0,
            shield: match kind {
                Kind::Shield | Kind::Brief => Shield::Up,
                _ => Shield::None,
            },
            dropped_for: None,
            because: None,
            or_because: None,
            cut_short: false,
            failed: false,
            panicked: false,
        });
        if kind != Kind::Loose {
            self.enter(id);
        }
    }

    fn add_exit(&mut self, id: ExitId, region: RegionId, plan: ExitPlan, out: bool) {
        self.enter(region);
        self.regions[region].exits.push(id);
        let exit = Exit {
            region,
            plan,
            stage: Stage::Registered,
            open: false,
            out,
            late: Late::No,
            host: region,
            abandoned: None,
        };
        self.exits.insert(id, exit);
    }

    fn exit(&mut self, id: ExitId) -> &mut Exit {
        self.exits.get_mut(&id).expect("it was registered")
    }

    /// A group's children that have not left.
    fn children(&self, group: RegionId) -> Vec<RegionId> {
        let of_it = |at: &Region| at.kind == Kind::Child && at.parent == group && at.lives();
        (0..self.regions.len()).filter(|id| of_it(&self.regions[*id])).collect()
    }

    /// Every region inside that was not left.
    fn inside(&self, region: RegionId) -> Vec<RegionId> {
        let lives = |id: &RegionId| self.regions[*id].lives() && self.is_inside(*id, region);
        (0..self.regions.len()).filter(lives).collect()
    }

    fn is_inside(&self, region: RegionId, around: RegionId) -> bool {
        self.way_in(around, region).is_some()
    }

    /// Whether it ends with the body of `around`. A region inside a group's child does not.
    fn is_in_body(&self, region: RegionId, around: RegionId) -> bool {
        let outermost = self.way_in(around, region);
        outermost.is_some_and(|outermost| self.regions[outermost].kind != Kind::Child)
    }

    /// The region that stands directly in `around` and contains `region`, or is `region`.
    fn way_in(&self, around: RegionId, mut region: RegionId) -> Option<RegionId> {
        while region != 0 {
            let parent = self.regions[region].parent;
            if parent == around {
                return Some(region);
            }
            region = parent;
        }
        None
    }

    fn nearest_live(&self, mut region: RegionId) -> Option<RegionId> {
        while !self.regions[region].lives() {
            if region == 0 {
                return None;
            }
            region = self.regions[region].parent;
        }
        Some(region)
    }
}
