//! The book-keeper: it knows the rules, and no futures.
//!
//! Bodies end at once and regions leave when the exits they answer for have ended, so everything is foretold but the order
//! among unrelated exits. A cancelled body alone is waited for: it has to be gone when the program is at rest, unless a
//! shield holds it, and meanwhile it may go. The parts:
//!
//! - here, what the book holds;
//! - [`rules`] and [`cancel`], what follows from what is done: each rule once, with its number, to be read beside
//!   docs/design.md;
//! - [`ops`], what an operation is done to, so that every seed is a program;
//! - [`oracle`], what the real program did, held against the book.
//!
//! Some rules are kept by the program itself: that a foreign task is rejected and nothing has happened (R2), and that a
//! request comes from outside every task (R3). That nothing lives on (R19) is asked at the end. R18 is in what the program
//! does where the crate calls it: in its wakers and their drops, in drops of bodies, exits and lent values, in exits and in
//! the hook for reports it asks every region there is, and may wake every body, which under a lock of the crate's would wait
//! for ever.
//!
//! Not in the model: graces of stacks and of `stop`, shields that nobody polls, and entered scopes.

mod cancel;
mod ops;
mod oracle;
mod rules;

use super::{Because, End, ExitId, ExitPlan, Kind, Outcome, RegionId, Why};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The body has ended; exits run, children leave.
    Leaving,
    Left,
    /// Dropped instead of left.
    Dropped,
    /// In nobody's hands (R4).
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

#[derive(Debug)]
struct Region {
    kind: Kind,
    parent: RegionId,
    /// The region whose identity its exits have: a root or a child (R5, R8).
    task: RegionId,
    state: State,
    /// The order of entering.
    entered: Option<usize>,
    /// Its own, oldest first.
    exits: Vec<ExitId>,
    /// How its body ended by itself.
    end: Option<End>,
    cancelled: Option<Why>,
    /// Of a group: why its children are cancelled where it is not, those that are spawned later too.
    children_cancelled: Option<Why>,
    /// Of a group: whether a cancellation from far out finds it, because it or something in it has had children or a shield.
    found: bool,
    /// At which tick of the clock its deadline is.
    due: Option<usize>,
    shield: Shield,
    /// What was cancelled when it was dropped, here or around.
    dropped_for: Option<Why>,
    /// What its exits are told.
    because: Option<Because>,
    /// Whether the cancellation is what ended the body.
    cut_short: bool,
    /// Its body, or a child.
    failed: bool,
    /// Its body, a child, or an exit that it ran.
    panicked: bool,
}

impl Region {
    fn lives(&self) -> bool {
        matches!(self.state, State::Open | State::Leaving)
    }

    fn shields(&self) -> bool {
        matches!(self.shield, Shield::Up | Shield::Falling)
    }

    /// A loose stack has none.
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
    /// Its value is out, and its turn may have come.
    Maybe,
    /// Its turn came while its value was out; it runs by itself when it is back.
    Yes,
}

#[derive(Debug)]
struct Exit {
    region: RegionId,
    plan: ExitPlan,
    stage: Stage,
    /// Its gate.
    open: bool,
    /// Its value is lent out.
    out: bool,
    late: Late,
    /// Who runs it: its own region, or since it was abandoned the one that adopted it.
    host: RegionId,
    abandoned: Option<Abandoned>,
}

/// The last event that abandoned an exit.
#[derive(Debug)]
struct Abandoned {
    event: usize,
    half_way: bool,
}

impl Exit {
    /// Whether anything has to wait for it.
    fn pending(&self) -> bool {
        matches!(self.stage, Stage::Registered | Stage::Running) && !self.out
    }

    fn blocked(&self) -> bool {
        self.stage == Stage::Running && self.plan.gated && !self.open
    }
}

#[derive(Default)]
pub(crate) struct Reference {
    regions: Vec<Region>,
    exits: BTreeMap<ExitId, Exit>,
    next_exit: ExitId,
    next_number: usize,
    events: usize,
    /// The exit whose value has just come back.
    back: Option<ExitId>,
    requests: usize,
    ticks: usize,
    expected_still_held: usize,
    root_dropped: bool,
    // What the real program said.
    bodies_gone: BTreeSet<RegionId>,
    returned: BTreeMap<RegionId, Outcome>,
    told: BTreeMap<String, usize>,
    told_still_held: usize,
    told_or_again: usize,
    told_unclaimed: usize,
    told_lost: usize,
}

impl Reference {
    /// What an exit registers is numbered by this much above the exit.
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

    /// Whose body does what is done to the region.
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
            due: None,
            shield: match kind {
                Kind::Shield | Kind::Brief => Shield::Up,
                _ => Shield::None,
            },
            dropped_for: None,
            because: None,
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

    /// Everything inside the region that was not left.
    fn inside(&self, region: RegionId) -> Vec<RegionId> {
        let lives = |id: &RegionId| self.regions[*id].lives() && self.is_inside(*id, region);
        (0..self.regions.len()).filter(lives).collect()
    }

    fn is_inside(&self, region: RegionId, around: RegionId) -> bool {
        self.way_in(around, region).is_some()
    }

    /// Whether it ends with the body of `around`: what is inside a group's child does not.
    fn is_in_body(&self, region: RegionId, around: RegionId) -> bool {
        let outermost = self.way_in(around, region);
        outermost.is_some_and(|outermost| self.regions[outermost].kind != Kind::Child)
    }

    /// Of what `region` is inside, or the region itself, what stands in `around`.
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
