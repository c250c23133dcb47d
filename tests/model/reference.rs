//! The book-keeper: it knows the rules, and no futures.
//!
//! Bodies end at once and regions leave when the exits they answer for have ended, so everything but the order among
//! unrelated exits is foretold. Of that order it knows what the rules say: last in first out within a region, innermost
//! region first, newest region first among those that one event abandoned, half-way exits before any other.

use super::{End, Event, ExitId, ExitPlan, Kind, Op, Outcome, RegionId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The body has ended; exits run.
    Leaving,
    Left,
}

#[derive(Debug)]
struct Region {
    kind: Kind,
    parent: RegionId,
    /// The region whose identity its exits have: a root or a child.
    task: RegionId,
    state: State,
    /// Whether its body is there; a loose stack has none.
    body: bool,
    /// Dropped instead of left.
    abandoned: bool,
    /// The order of entering; a loose stack is entered by its first use.
    entered: Option<usize>,
    /// Its own, oldest first.
    exits: Vec<ExitId>,
    end: Option<End>,
    cancelled: bool,
    /// Whether the cancellation is what ended the body.
    cut_short: bool,
    /// An exit that it ran panicked.
    panicked: bool,
    child_failed: bool,
    child_panicked: bool,
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
    /// Its value is lent out.
    out: bool,
    late: Late,
    open: bool,
    began: bool,
    ended: bool,
    lost: bool,
    /// Who runs it: its own region, or since it was abandoned the one that adopted it.
    host: RegionId,
    /// The last event that abandoned it, and whether it was half-way then.
    event: Option<usize>,
    half_way: bool,
}

impl Exit {
    /// Whether anything has to wait for it.
    fn pending(&self) -> bool {
        !self.ended && !self.lost && !self.out
    }

    fn blocked(&self) -> bool {
        self.began && !self.ended && self.plan.gated && !self.open
    }
}

pub(crate) struct Reference {
    regions: Vec<Region>,
    exits: BTreeMap<ExitId, Exit>,
    next_exit: ExitId,
    next_number: usize,
    events: usize,
    /// The exit whose value has just come back.
    back: Option<ExitId>,
    expected_still_held: usize,
    root_dropped: bool,
    // What the real program said.
    bodies_gone: BTreeSet<RegionId>,
    returned: BTreeMap<RegionId, Outcome>,
    told: BTreeMap<String, usize>,
    told_still_held: usize,
    told_unclaimed: usize,
    told_lost: usize,
}

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

impl Reference {
    /// What an exit registers is numbered by this much above the exit.
    pub(crate) const FOLLOWERS: ExitId = 1000;
    const REGIONS: usize = 40;

    pub(crate) fn new() -> Self {
        let mut reference = Reference {
            regions: Vec::new(),
            exits: BTreeMap::new(),
            next_exit: 0,
            next_number: 0,
            events: 0,
            back: None,
            expected_still_held: 0,
            root_dropped: false,
            bodies_gone: BTreeSet::new(),
            returned: BTreeMap::new(),
            told: BTreeMap::new(),
            told_still_held: 0,
            told_unclaimed: 0,
            told_lost: 0,
        };
        reference.add_region(Kind::Root, 0);
        reference
    }

    pub(crate) fn newest_region(&self) -> RegionId {
        self.regions.len() - 1
    }

    pub(crate) fn newest_exit(&self) -> ExitId {
        self.next_exit - 1
    }

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
        self.next_number += 1;
        self.regions.push(Region {
            kind,
            parent,
            task,
            state: State::Open,
            body: kind != Kind::Loose,
            abandoned: false,
            entered: (kind != Kind::Loose).then_some(self.next_number),
            exits: Vec::new(),
            end: None,
            cancelled: false,
            cut_short: false,
            panicked: false,
            child_failed: false,
            child_panicked: false,
        });
    }

    fn add_exit(&mut self, id: ExitId, region: RegionId, plan: ExitPlan, out: bool) {
        self.next_number += 1;
        self.regions[region].entered.get_or_insert(self.next_number);
        self.regions[region].exits.push(id);
        self.exits.insert(
            id,
            Exit {
                region,
                plan,
                out,
                late: Late::No,
                open: false,
                began: false,
                ended: false,
                lost: false,
                host: region,
                event: None,
                half_way: false,
            },
        );
    }

    fn pick(&self, at: usize, fits: impl Fn(&Region) -> bool) -> Option<RegionId> {
        let fit: Vec<_> = (0..self.regions.len()).filter(|id| fits(&self.regions[*id])).collect();
        (!fit.is_empty()).then(|| fit[at % fit.len()])
    }

    fn pick_exit(&self, at: usize, fits: impl Fn(&Exit) -> bool) -> Option<ExitId> {
        let fit: Vec<_> =
            self.exits.iter().filter(|(_, exit)| fits(exit)).map(|(id, _)| *id).collect();
        (!fit.is_empty()).then(|| fit[at % fit.len()])
    }

    /// Whether the actor that a loose stack or a run belongs to can still do something with it.
    fn in_reach(&self, region: &Region) -> bool {
        self.regions[region.parent].body
    }

    fn takes_exits(&self, region: &Region) -> bool {
        match region.kind {
            Kind::Stack => region.body,
            Kind::Loose => region.state == State::Open && self.in_reach(region),
            _ => false,
        }
    }

    /// Does the operation in the book; returns it with the numbers it stands for, if there is anything to do it to.
    pub(crate) fn apply(&mut self, op: Op) -> Option<Op> {
        self.back = None;
        Some(match op {
            Op::Enter(at, kind) => {
                let around = self.pick(at, |region| region.body)?;
                (self.regions.len() < Self::REGIONS).then(|| self.add_region(kind, around))?;
                Op::Enter(around, kind)
            }
            Op::Spawn(at) => {
                let group = self.pick(at, |region| region.kind == Kind::Group && region.body)?;
                (self.regions.len() < Self::REGIONS)
                    .then(|| self.add_region(Kind::Child, group))?;
                Op::Spawn(group)
            }
            Op::Defer(at, plan) => {
                let stack = self.pick(at, |region| self.takes_exits(region))?;
                let plan =
                    ExitPlan { then: plan.then && self.regions[stack].kind == Kind::Stack, ..plan };
                self.add_exit(self.next_exit, stack, plan, false);
                self.next_exit += 1;
                Op::Defer(stack, plan)
            }
            Op::Hold(at, plan) => {
                let stack = self.pick(at, |region| self.takes_exits(region))?;
                let plan = ExitPlan { then: false, ..plan };
                self.add_exit(self.next_exit, stack, plan, true);
                self.next_exit += 1;
                Op::Hold(stack, plan)
            }
            Op::PutBack(at) => {
                let exit = self.pick_exit(at, |exit| exit.out)?;
                self.put_back(exit);
                Op::PutBack(exit)
            }
            Op::Cancel(at) => {
                let asked = |region: &Region| {
                    matches!(region.kind, Kind::Scope | Kind::Group | Kind::Child)
                };
                let region = self.pick(at, asked)?;
                self.cancel(region);
                Op::Cancel(region)
            }
            Op::Expire(at) => {
                let region = self.pick(at, |region| {
                    region.kind == Kind::Scope && region.body && region.state == State::Open
                })?;
                self.cancel(region);
                Op::Expire(region)
            }
            // Neither has an effect on the book.
            Op::Trespass(at) => Op::Trespass(
                self.pick(at, |region| region.kind == Kind::Stack && region.state != State::Left)?,
            ),
            Op::Stop(at) => {
                let asked = |region: &Region| matches!(region.kind, Kind::Scope | Kind::Group);
                Op::Stop(self.pick(at, asked)?)
            }
            Op::Leave(at, end) => {
                let region = self.pick(at, |region| region.body && region.kind != Kind::Root)?;
                self.leave(region, end);
                Op::Leave(region, end)
            }
            Op::Drop(at) => {
                let region = self.pick(at, |region| {
                    !matches!(region.kind, Kind::Root | Kind::Child)
                        && region.state != State::Left
                        && self.in_reach(region)
                })?;
                self.abandon(self.below(region, true), Some(self.regions[region].parent));
                Op::Drop(region)
            }
            Op::Close(at) => {
                let loose = self.pick(at, |region| {
                    region.kind == Kind::Loose
                        && region.state == State::Open
                        && self.in_reach(region)
                })?;
                self.regions[loose].state = State::Leaving;
                Op::Close(loose)
            }
            Op::Open(at) => {
                let exit = self.pick_exit(at, |exit| exit.plan.gated && !exit.open)?;
                self.exits.get_mut(&exit)?.open = true;
                Op::Open(exit)
            }
        })
    }

    /// The next step on the way to the program's end, done in the book: values come back, gates open, bodies end, the
    /// newest first, so that nothing is abandoned. `None` when the root has ended.
    pub(crate) fn let_go(&mut self) -> Option<Op> {
        let last = Self::REGIONS - 1;
        let newest = |fits: &dyn Fn(&Region) -> bool| {
            (0..=last).rev().find(|id| self.regions.get(*id).is_some_and(fits))
        };
        let close =
            newest(&|r| r.kind == Kind::Loose && r.state == State::Open && self.in_reach(r));
        let leave = newest(&|region| region.body);
        if let Some(op) = self.apply(Op::PutBack(0)).or_else(|| self.apply(Op::Open(0))) {
            return Some(op);
        }
        if let Some(loose) = close {
            self.regions[loose].state = State::Leaving;
            return Some(Op::Close(loose));
        }
        self.leave(leave?, End::Fine);
        Some(Op::Leave(leave?, End::Fine))
    }
}

// What the rules say.
impl Reference {
    /// The region, if `itself`, and everything inside it that was not left.
    fn below(&self, region: RegionId, itself: bool) -> Vec<RegionId> {
        let mut inside: Vec<RegionId> = Vec::new();
        for id in region..self.regions.len() {
            let at = &self.regions[id];
            let within = id != region && (at.parent == region || inside.contains(&at.parent));
            if (id == region || within) && at.state != State::Left {
                inside.push(id);
            }
        }
        inside.retain(|id| itself || *id != region);
        inside
    }

    fn is_below(&self, mut region: RegionId, above: RegionId) -> bool {
        while region != 0 {
            region = self.regions[region].parent;
            if region == above {
                return true;
            }
        }
        false
    }

    /// R6, R7: the body ends, and with it everything inside but a group's children.
    fn end_body(&mut self, region: RegionId) {
        self.regions[region].body = false;
        self.regions[region].state = State::Leaving;
        let children: Vec<_> = match self.regions[region].kind {
            Kind::Group => {
                let child = |id: &RegionId| {
                    let at = &self.regions[*id];
                    at.kind == Kind::Child && at.parent == region
                };
                (0..self.regions.len()).filter(child).collect()
            }
            _ => Vec::new(),
        };
        let mut inside = self.below(region, false);
        inside.retain(|id| !children.iter().any(|c| id == c || self.is_below(*id, *c)));
        self.abandon(inside, Some(region));
    }

    /// R8: what has not ended goes to `host`, or is lost.
    fn abandon(&mut self, regions: Vec<RegionId>, host: Option<RegionId>) {
        self.events += 1;
        for region in &regions {
            let region = &mut self.regions[*region];
            region.state = State::Left;
            region.abandoned = true;
            region.body = false;
        }
        for exit in self.exits.values_mut() {
            let consumed = exit.late == Late::Yes && exit.out;
            if exit.ended || exit.lost || consumed || !regions.contains(&exit.host) {
                continue;
            }
            match host {
                Some(host) => {
                    exit.host = host;
                    exit.event = Some(self.events);
                    exit.half_way = exit.began;
                }
                None => exit.lost = true,
            }
        }
    }

    fn leave(&mut self, region: RegionId, end: End) {
        self.regions[region].end = Some(end);
        self.end_body(region);
        if self.regions[region].kind == Kind::Group && end != End::Fine {
            // R17: the body counts as one more child.
            self.cancel(region);
        }
    }

    fn cancel(&mut self, region: RegionId) {
        let at = &mut self.regions[region];
        if at.state == State::Left || at.cancelled {
            return;
        }
        at.cancelled = true;
        if at.body {
            at.cut_short = true;
            self.end_body(region);
        }
        if self.regions[region].kind == Kind::Group {
            for id in 0..self.regions.len() {
                if self.regions[id].kind == Kind::Child && self.regions[id].parent == region {
                    self.cancel(id);
                }
            }
        }
    }

    fn nearest_live(&self, mut region: RegionId) -> Option<RegionId> {
        loop {
            if self.regions[region].state != State::Left {
                return Some(region);
            }
            if region == 0 {
                return None;
            }
            region = self.regions[region].parent;
        }
    }

    fn put_back(&mut self, id: ExitId) {
        self.back = Some(id);
        let home = self.exits[&id].region;
        let host = self.nearest_live(home);
        let exit = self.exits.get_mut(&id).unwrap();
        exit.out = false;
        if exit.late == Late::Yes && !exit.lost {
            match host {
                Some(host) => exit.host = host,
                None => exit.lost = true,
            }
        }
    }

    /// Whether `first` has to have ended before `then` may begin (R7, R14).
    fn precedes(&self, first: ExitId, then: ExitId) -> bool {
        let (p, e) = (&self.exits[&first], &self.exits[&then]);
        if first == then || !p.pending() || p.late == Late::Yes {
            return false;
        }
        if p.region == e.region {
            let exits = &self.regions[p.region].exits;
            let at = |id| exits.iter().position(|other| *other == id);
            return at(first) > at(then);
        }
        let same_event = p.event.is_some() && p.event == e.event;
        let inner = self.is_below(p.region, e.region);
        let (inside, outside) = (&self.regions[p.region], &self.regions[e.region]);
        let newer = inside.task == outside.task && inside.entered > outside.entered;
        (p.host == e.region && e.host == e.region && inner)
            || (same_event && (inner || newer || (p.half_way && inside.task == outside.task)))
    }

    /// Leaves what has nothing left to wait for, until nothing changes.
    fn settle(&mut self) {
        loop {
            let done = (0..self.regions.len()).rev().find(|id| {
                let region = &self.regions[*id];
                region.state == State::Leaving
                    && !self.exits.values().any(|exit| exit.host == *id && exit.pending())
                    && !self.regions.iter().any(|child| {
                        child.kind == Kind::Child
                            && child.parent == *id
                            && child.state != State::Left
                    })
            });
            let Some(id) = done else { return };
            self.regions[id].state = State::Left;
            for exit in self.exits.values_mut() {
                if exit.host == id && exit.out && exit.late != Late::Yes {
                    exit.late = Late::Yes;
                    self.expected_still_held += 1;
                }
            }
            let region = &self.regions[id];
            if region.kind == Kind::Child {
                let group = region.parent;
                let panicked = region.panicked || region.end == Some(End::Panic);
                let failed = region.end == Some(End::Error);
                self.regions[group].child_panicked |= panicked;
                self.regions[group].child_failed |= failed;
                if panicked || failed {
                    self.cancel(group);
                }
            }
        }
    }
}

// Against the real program.
impl Reference {
    pub(crate) fn observe(&mut self, events: Vec<Event>) -> Result<(), String> {
        self.settle();
        for event in events {
            self.happened(event)?;
            self.settle();
        }
        // A value that is back and whose exit has not begun was not late.
        let back = self.back.take().and_then(|id| self.exits.get_mut(&id));
        if let Some(exit) = back.filter(|exit| exit.late == Late::Maybe) {
            exit.late = Late::No;
        }
        let ids: Vec<ExitId> = self.exits.keys().copied().collect();
        for id in &ids {
            let exit = &self.exits[id];
            let unwinding =
                exit.event.is_some() || self.regions[exit.region].state == State::Leaving;
            let first = |other: &ExitId| self.precedes(*other, *id);
            if exit.out && exit.late == Late::No && unwinding && !ids.iter().any(first) {
                self.exits.get_mut(id).unwrap().late = Late::Maybe;
            }
        }
        self.at_rest()
    }

    fn happened(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::ExitBegan(id) => {
                let Some(exit) = self.exits.get(&id) else {
                    return Err(format!("exit {id} was never registered"));
                };
                ensure!(!exit.began, "exit {id} began twice (R14)");
                ensure!(!exit.lost, "exit {id} was to be lost, and began");
                ensure!(!exit.out, "exit {id} began while its value was out");
                let late = exit.late == Late::Yes || exit.late == Late::Maybe;
                if exit.late == Late::Maybe {
                    self.expected_still_held += 1;
                }
                if late {
                    self.exits.get_mut(&id).unwrap().late = Late::Yes;
                } else {
                    let state = self.regions[exit.region].state;
                    ensure!(
                        exit.event.is_some() || state == State::Leaving,
                        "exit {id} began while its region was {state:?}"
                    );
                    let first = self.exits.keys().find(|first| self.precedes(**first, id));
                    ensure!(
                        first.is_none(),
                        "exit {id} began before {first:?} had ended (R7, R14)"
                    );
                }
                self.exits.get_mut(&id).unwrap().began = true;
            }
            Event::ExitEnded(id) => {
                let exit = self.exits.get_mut(&id).unwrap();
                ensure!(exit.began && !exit.ended, "exit {id} ended twice (R14)");
                ensure!(!exit.plan.gated || exit.open, "exit {id} went through a closed gate");
                exit.ended = true;
                if exit.plan.end == End::Panic {
                    self.regions[exit.host].panicked = true;
                }
            }
            Event::Followed(id, next) => {
                let region = self.exits[&id].region;
                let left = self.regions[region].state == State::Left;
                ensure!(
                    left == next.is_none(),
                    "exit {id} registered {next:?} in a region that was left: {left} (R14)"
                );
                if let Some(next) = next {
                    let plan = ExitPlan { end: End::Fine, gated: false, then: false };
                    self.add_exit(next, region, plan, false);
                }
            }
            Event::BodyGone(region) => {
                ensure!(self.bodies_gone.insert(region), "body {region} was dropped twice");
            }
            Event::Returned(region, outcome) => {
                let twice = self.returned.insert(region, outcome);
                ensure!(twice.is_none(), "region {region} returned twice");
                self.check_outcome(region, outcome)?;
            }
            Event::Told(what) => *self.told.entry(what).or_default() += 1,
            Event::ToldStillHeld => self.told_still_held += 1,
            Event::ToldUnclaimed => self.told_unclaimed += 1,
            Event::Lost(exits) => self.told_lost += exits,
            Event::Broken(what) => return Err(what),
        }
        Ok(())
    }

    /// R9, R15: what a region returns.
    fn check_outcome(&self, id: RegionId, outcome: Outcome) -> Result<(), String> {
        let region = &self.regions[id];
        ensure!(
            region.state == State::Left && !region.abandoned,
            "region {id} returned before everything inside had left (R8, R16)"
        );
        let panicked = region.panicked || region.child_panicked || region.end == Some(End::Panic);
        let failed = region.end == Some(End::Error) || region.child_failed;
        let records = matches!(region.kind, Kind::Stack | Kind::Loose | Kind::Group);
        let own_failures = self.exits.values().any(|exit| {
            exit.host == id && exit.ended && exit.plan.end == End::Error && exit.late != Late::Yes
        });
        let expected = match () {
            _ if panicked => Outcome::Panicked,
            _ if failed => Outcome::Failed,
            _ if region.cut_short => Outcome::Cancelled,
            _ if records && own_failures => Outcome::ExitsFailed,
            _ => Outcome::Fine,
        };
        // A record also takes what regions inside had no room for.
        let also = records && expected == Outcome::Fine && outcome == Outcome::ExitsFailed;
        ensure!(
            outcome == expected || also,
            "region {id} ({:?}) returned {outcome:?}, expected {expected:?} (R15)",
            region.kind
        );
        Ok(())
    }

    /// What holds when nobody is woken any more.
    fn at_rest(&self) -> Result<(), String> {
        for (id, region) in self.regions.iter().enumerate() {
            let what = region.kind;
            if region.kind != Kind::Loose {
                let gone = self.bodies_gone.contains(&id);
                ensure!(
                    gone != region.body,
                    "the body of region {id} ({what:?}) is there: {}, expected: {} (R6, R7, R16, R17)",
                    !gone,
                    region.body
                );
            }
            if region.kind != Kind::Child {
                let left = region.state == State::Left && !region.abandoned;
                let returned = self.returned.contains_key(&id);
                ensure!(
                    left == returned,
                    "region {id} ({what:?}) returned: {returned}, expected: {left} (R16)"
                );
            }
            if region.state == State::Left {
                continue;
            }
            let mine = || self.exits.iter().filter(move |(_, exit)| exit.host == id);
            let adopted = || mine().filter(|(_, exit)| exit.region != id || exit.late == Late::Yes);
            let mut waits_for = adopted().filter(|(_, exit)| exit.pending());
            if let Some((waiting, _)) = waits_for.next() {
                ensure!(
                    adopted().any(|(_, exit)| exit.blocked()),
                    "exit {waiting}, adopted by region {id}, waits for nothing (R8)"
                );
            } else if region.state == State::Leaving {
                let waiting = mine().find(|(_, exit)| exit.pending());
                ensure!(
                    waiting.is_none() || mine().any(|(_, exit)| exit.blocked()),
                    "region {id} ({what:?}) is stuck before exit {waiting:?}"
                );
            }
        }
        Ok(())
    }

    pub(crate) fn drop_root(&mut self) {
        self.root_dropped = true;
        self.abandon(self.below(0, true), None);
    }

    pub(crate) fn put_everything_back(&mut self) -> Vec<Op> {
        let out: Vec<ExitId> =
            self.exits.iter().filter(|(_, exit)| exit.out).map(|(id, _)| *id).collect();
        out.iter().for_each(|id| self.put_back(*id));
        out.into_iter().map(Op::PutBack).collect()
    }

    /// What holds at the very end.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        if !self.root_dropped && self.regions[0].state == State::Open {
            return Ok(());
        }
        let mut lost = 0;
        for (id, exit) in &self.exits {
            lost += usize::from(exit.lost);
            ensure!(exit.ended != exit.lost, "exit {id} neither ran nor was reported lost (R8)");
            let told = self.told.get(&format!("exit {id}")).copied().unwrap_or_default();
            let fails = exit.ended && exit.plan.end != End::Fine;
            ensure!(
                told == usize::from(fails),
                "exit {id} failed: {fails}; told {told} times (R15)"
            );
        }
        ensure!(
            self.told_lost == lost,
            "{} exits were reported lost, expected {lost} (R8)",
            self.told_lost
        );
        for (id, region) in self.regions.iter().enumerate() {
            let told = self.told.get(&format!("body {id}")).copied().unwrap_or_default();
            let fails = matches!(region.end, Some(End::Error | End::Panic));
            ensure!(told <= usize::from(fails), "body {id} was told {told} times (R15)");
            // A panic goes on in place of the values that would have told of errors.
            let teller = match region.kind {
                Kind::Child => region.parent,
                _ => id,
            };
            let teller = &self.regions[teller];
            let masked = region.end == Some(End::Error)
                && (teller.panicked || teller.child_panicked || teller.end == Some(End::Panic));
            if fails && !masked && !region.abandoned && !teller.abandoned {
                ensure!(told == 1, "nobody was told how body {id} ended (R15)");
            }
        }
        // Nobody can claim an error whose `run` was dropped, or went on with a panic instead of returning.
        let silent = |id: RegionId| {
            self.regions[id].abandoned || self.returned.get(&id) == Some(&Outcome::Panicked)
        };
        let unclaimed = self.regions.iter().enumerate().filter(|(id, region)| {
            region.end == Some(End::Error) && (silent(*id) || silent(region.parent))
        });
        ensure!(
            self.told_unclaimed <= unclaimed.count(),
            "{} errors were told to be unclaimed (R15)",
            self.told_unclaimed
        );
        let known = |what: &String| what.starts_with("exit ") || what.starts_with("body ");
        let strange = self.told.keys().find(|what| !known(what));
        ensure!(strange.is_none(), "told of {strange:?}");
        if !self.root_dropped {
            ensure!(
                self.told_still_held == self.expected_still_held,
                "{} exits were told to be still held, expected {}",
                self.told_still_held,
                self.expected_still_held
            );
        }
        Ok(())
    }
}
