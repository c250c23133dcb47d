//! The comparison of the real program's events with the reference: in every step, whenever the program is
//! at rest, and at the end.

use super::{Late, Reference, Region, Stage, State};
use crate::model::{Because, End, Event, ExitId, ExitPlan, Kind, Outcome, RegionId, Why};
use moored::ReasonKind;

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

impl Reference {
    /// The events since the last operation, until no wake-up was left.
    pub(crate) fn observe(&mut self, events: Vec<Event>) -> Result<(), String> {
        self.follow();
        for (at, event) in events.iter().enumerate() {
            self.happened(event.clone(), &events[at + 1..])?;
            self.follow();
        }
        self.nothing_is_late_that_is_back();
        self.graces_begin();
        self.bodies_and_returns()?;
        self.waits_end()?;
        self.nothing_is_stuck()
    }

    /// The immediate consequences of an event, before the next event.
    fn follow(&mut self) {
        self.settle();
        self.cancel_beside_shields();
        self.whose_turn_has_come();
    }

    fn happened(&mut self, event: Event, then: &[Event]) -> Result<(), String> {
        match event {
            Event::ExitBegan(id, because, by) => self.exit_began(id, because, by)?,
            Event::ExitEnded(id) => {
                let exit = self.exit(id);
                ensure!(exit.stage == Stage::Running, "exit {id} ended as {:?} (R14)", exit.stage);
                ensure!(!exit.plan.gated || exit.open, "exit {id} went through a closed gate");
                exit.stage = Stage::Ended;
                let (host, panicked) = (exit.host, exit.plan.end == End::Panic);
                self.regions[host].panicked |= panicked;
            }
            // R14: an exit that is registered while a stack unwinds is its next exit.
            Event::Followed(id, next) => {
                let region = self.exits[&id].region;
                let left = !self.regions[region].lives();
                ensure!(
                    left == next.is_none(),
                    "exit {id} registered {next:?} in a region that was left: {left} (R14)"
                );
                if let Some(next) = next {
                    let plan = ExitPlan { end: End::Fine, gated: false, then: false };
                    self.add_exit(next, region, plan, false);
                }
            }
            Event::BodyGone(region) => self.body_gone(region, then)?,
            Event::Saw(region, seen) => {
                let mut expected = self.answers(region);
                expected.why = seen.why.and(expected.why);
                ensure!(
                    seen == expected,
                    "region {region} told {seen:?}, expected {expected:?} (R6, R10, R11, R12, R13)"
                );
            }
            Event::Awaited(wait) => self.waits[wait].ended = true,
            Event::Guarded(group, given) => {
                let expected = self.gives_guard;
                ensure!(
                    given == expected,
                    "a guard of group {group} was given: {given}, expected: {expected} (R16)"
                );
            }
            Event::Returned(region, outcome) => {
                let before = self.returned.insert(region, outcome);
                ensure!(before.is_none(), "region {region} returned twice");
                if self.regions[region].guards > 0 {
                    self.may_leave_its_guards(region);
                }
                self.returned(region, outcome)?;
            }
            Event::Told(what) => *self.told.entry(what).or_default() += 1,
            Event::ToldStillHeld => self.told_still_held += 1,
            Event::ToldStillHeldOrAgain => self.told_or_again += 1,
            Event::ToldUnclaimed => self.told_unclaimed += 1,
            Event::Lost(exits) => self.told_lost += exits,
            Event::Broken(what) => return Err(what),
        }
        Ok(())
    }

    /// R6, R12: the body of a cancelled region goes when no shield holds it. A body that falls with a body around it
    /// falls before that body, with no step between the two.
    fn body_gone(&mut self, region: RegionId, then: &[Event]) -> Result<(), String> {
        ensure!(self.bodies_gone.insert(region), "body {region} was dropped twice");
        let falls = then.iter().take_while(|event| !event.is_a_step()).any(
            |event| matches!(event, Event::BodyGone(around) if self.is_in_body(region, *around)),
        );
        let at = &self.regions[region];
        if !falls && at.cancelled.is_some() && at.has_body() {
            ensure!(!self.is_held(region), "body {region} was dropped in spite of a shield (R12)");
            self.cut(region);
        } else if falls && self.may_be_cut(region) {
            self.may_have_gone_before(region);
        }
        Ok(())
    }

    /// A cancelled body that falls with the body around it may have gone by itself just before that. Then an exit
    /// inside it may have had its turn while its value was lent, and its region may have left with a failure, which
    /// is the reason for others that fall (R9, R17).
    fn may_have_gone_before(&mut self, region: RegionId) {
        let mut gone = self.clone();
        gone.cut(region);
        gone.follow();
        for (id, exit) in &mut self.exits {
            if exit.late == Late::No && gone.exits[id].late == Late::Maybe {
                exit.late = Late::Maybe;
            }
        }
        for id in 0..self.regions.len() {
            let why = gone.why(id).filter(|_| gone.why(id) != self.why(id));
            if let (Some(why), true) = (why, self.regions[id].because.is_none()) {
                self.regions[id].or_because = Some(Because::Cancelled(why));
            }
        }
    }

    /// R14: once, in its turn, and only while its region is being left or after that.
    fn exit_began(
        &mut self,
        id: ExitId,
        because: Because,
        by: Option<RegionId>,
    ) -> Result<(), String> {
        let Some(exit) = self.exits.get(&id) else {
            return Err(format!("exit {id} was never registered"));
        };
        let stage = exit.stage;
        ensure!(stage == Stage::Registered, "exit {id} began, and was {stage:?} (R8, R14)");
        let owner = self.regions[exit.region].task;
        ensure!(by == Some(owner), "exit {id} of task {owner} ran as {by:?} (R4, R8)");
        ensure!(!exit.out, "exit {id} began while its value was out");
        let late = exit.late;
        if late == Late::No {
            let state = self.regions[exit.region].state;
            ensure!(
                exit.abandoned.is_some() || state == State::Leaving,
                "exit {id} began while its region was {state:?}"
            );
            let first = self.exits.keys().find(|first| self.precedes(**first, id));
            ensure!(first.is_none(), "exit {id} began before {first:?} had ended (R7, R14)");
            let Region { because: expected, or_because, .. } = self.regions[exit.region];
            ensure!(
                Some(because) == expected || Some(because) == or_because,
                "exit {id} was told {because:?}, expected {expected:?} (R10, R14)"
            );
        } else {
            self.exit(id).late = Late::Yes;
            self.expected_still_held += usize::from(late == Late::Maybe);
        }
        self.exit(id).stage = Stage::Running;
        Ok(())
    }

    /// R8, R9, R10, R15, R16: the time at which a region returns, and its result.
    fn returned(&self, id: RegionId, outcome: Outcome) -> Result<(), String> {
        let region = &self.regions[id];
        let gone = Why { kind: ReasonKind::OwnerGone, request: None, by: None };
        ensure!(
            region.state == State::Left || region.kind == Kind::Child,
            "region {id} returned before everything inside had left (R8, R16)"
        );
        let records =
            matches!(region.kind, Kind::Stack | Kind::Loose | Kind::Group | Kind::KeepsGoing);
        let own_failures = self.exits.values().any(|exit| {
            exit.host == id
                && exit.stage == Stage::Ended
                && exit.plan.end == End::Error
                && exit.late != Late::Yes
        });
        let expected = match () {
            _ if region.state == State::Dropped => {
                Outcome::Cancelled(region.dropped_for.unwrap_or(gone))
            }
            _ if region.panicked => Outcome::Panicked,
            _ if region.failed => Outcome::Failed,
            _ if region.cut_short => Outcome::Cancelled(region.cancelled.expect("it was cut")),
            _ if records && own_failures => Outcome::ExitsFailed,
            _ => Outcome::Fine,
        };
        // A cancelled child, dropped with the body around it, may have left just before that, with a panic. The
        // children that fell after it got this panic as their reason.
        let fell = |region: &Region| region.state == State::Dropped;
        let just_before =
            |region: &Region| fell(region) && region.cancelled.is_some() && region.panicked;
        let before_it = match outcome {
            Outcome::Panicked => just_before(region),
            Outcome::Cancelled(Why { kind: ReasonKind::SiblingFailed, by: Some(by), .. }) => {
                let first = &self.regions[by];
                fell(region) && first.parent == region.parent && just_before(first)
            }
            _ => false,
        };
        // A record also takes the failures of regions inside that return no record.
        let also = records && expected == Outcome::Fine && outcome == Outcome::ExitsFailed;
        ensure!(
            outcome == expected || also || before_it,
            "region {id} ({:?}) returned {outcome:?}, expected {expected:?} (R15)",
            region.kind
        );
        Ok(())
    }

    /// An exit that has not begun, and has just got its value back, was not late.
    fn nothing_is_late_that_is_back(&mut self) {
        let back = self.back.take().and_then(|id| self.exits.get_mut(&id));
        if let Some(exit) = back.filter(|exit| exit.late == Late::Maybe) {
            exit.late = Late::No;
        }
    }

    /// The only event that is not determined: that an exit's turn comes while its value is
    /// lent.
    fn whose_turn_has_come(&mut self) {
        let ids: Vec<ExitId> = self.exits.keys().copied().collect();
        for id in &ids {
            let exit = &self.exits[id];
            let unwinding =
                exit.abandoned.is_some() || self.regions[exit.region].state == State::Leaving;
            let waits = |first: &ExitId| self.precedes(*first, *id);
            if exit.out && exit.late == Late::No && unwinding && !ids.iter().any(waits) {
                self.exit(*id).late = Late::Maybe;
            }
        }
    }

    /// R6, R7, R16, R17: exactly those bodies are gone, and those regions have returned, that
    /// the reference expects.
    fn bodies_and_returns(&self) -> Result<(), String> {
        for (id, region) in self.regions.iter().enumerate() {
            let kind = region.kind;
            ensure!(
                !self.may_be_cut(id),
                "nothing holds the body of the cancelled region {id} (R6)"
            );
            if kind != Kind::Loose {
                let (there, expected) = (!self.bodies_gone.contains(&id), region.has_body());
                ensure!(
                    there == expected,
                    "the body of region {id} ({kind:?}) is there: {there}, expected: {expected} (R6, R7, R16, R17)"
                );
            }
            // The result of a child goes to its group.
            if kind != Kind::Child {
                let left = region.state == State::Left;
                let returned = self.returned.contains_key(&id);
                ensure!(
                    left == returned,
                    "region {id} ({kind:?}) returned: {returned}, expected: {left} (R16)"
                );
            }
        }
        Ok(())
    }

    /// R8: an adopted exit runs at once, beside the body. A region that leaves waits only for an exit that is at
    /// its gate.
    fn nothing_is_stuck(&self) -> Result<(), String> {
        for (id, region) in self.regions.iter().enumerate().filter(|(_, region)| region.lives()) {
            let mine = || self.exits.iter().filter(move |(_, exit)| exit.host == id);
            let adopted = || mine().filter(|(_, exit)| exit.region != id || exit.late == Late::Yes);
            let waiting = adopted().find(|(_, exit)| exit.pending());
            if let Some((waiting, _)) = waiting {
                ensure!(
                    adopted().any(|(_, exit)| exit.blocked()),
                    "exit {waiting}, adopted by region {id}, waits for nothing (R8)"
                );
            } else if region.state == State::Leaving {
                let waiting = mine().find(|(_, exit)| exit.pending()).map(|(id, _)| id);
                ensure!(
                    waiting.is_none() || mine().any(|(_, exit)| exit.blocked()),
                    "region {id} ({:?}) is stuck before exit {waiting:?}",
                    region.kind
                );
            }
        }
        Ok(())
    }

    /// The conditions at the very end.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        if !self.root_dropped && self.regions[0].state == State::Open {
            return Ok(());
        }
        self.every_exit_ran_or_was_lost()?;
        self.every_end_was_told()?;
        let known = |what: &String| what.starts_with("exit ") || what.starts_with("body ");
        let strange = self.told.keys().find(|what| !known(what));
        ensure!(strange.is_none(), "told of {strange:?}");
        if !self.root_dropped {
            let (told, expected) = (self.told_still_held, self.expected_still_held);
            ensure!(
                told <= expected && expected <= told + self.told_or_again,
                "{} exits were told to be still held, expected {}",
                self.told_still_held,
                self.expected_still_held
            );
        }
        Ok(())
    }

    fn times_told(&self, what: &str) -> usize {
        self.told.get(what).copied().unwrap_or_default()
    }

    /// R8: every exit. R15: its failure, once.
    fn every_exit_ran_or_was_lost(&self) -> Result<(), String> {
        for (id, exit) in &self.exits {
            let over = matches!(exit.stage, Stage::Ended | Stage::Lost);
            ensure!(over, "exit {id} neither ran nor was reported lost (R8)");
            let fails = exit.stage == Stage::Ended && exit.plan.end != End::Fine;
            let told = self.times_told(&format!("exit {id}"));
            ensure!(
                told == usize::from(fails),
                "exit {id} failed: {fails}; told {told} times (R15)"
            );
        }
        let lost = self.exits.values().filter(|exit| exit.stage == Stage::Lost).count();
        ensure!(
            self.told_lost == lost,
            "{} exits were reported lost, expected {lost} (R8)",
            self.told_lost
        );
        Ok(())
    }

    /// R15: the end of every body was reported once, unless no region was left that could
    /// report it.
    fn every_end_was_told(&self) -> Result<(), String> {
        for (id, region) in self.regions.iter().enumerate() {
            let fails = matches!(region.end, Some(End::Error | End::Panic));
            let told = self.times_told(&format!("body {id}"));
            ensure!(told <= usize::from(fails), "body {id} was told {told} times (R15)");
            let teller = match region.kind {
                Kind::Child => &self.regions[region.parent],
                _ => region,
            };
            // A panic goes on in place of the values that would have told of errors.
            let masked = region.end == Some(End::Error) && teller.panicked;
            let dropped = |region: &Region| region.state == State::Dropped;
            if fails && !masked && !dropped(region) && !dropped(teller) {
                ensure!(told == 1, "nobody was told how body {id} ended (R15)");
            }
        }
        // No caller receives an error if its `run` was dropped, or resumed a panic instead of returning.
        let silent = |id: RegionId| {
            self.regions[id].state == State::Dropped
                || self.returned.get(&id) == Some(&Outcome::Panicked)
        };
        let unclaimed = self.regions.iter().enumerate().filter(|(id, region)| {
            region.end == Some(End::Error) && (silent(*id) || silent(region.parent))
        });
        ensure!(
            self.told_unclaimed <= unclaimed.count(),
            "{} errors were told to be unclaimed (R15)",
            self.told_unclaimed
        );
        Ok(())
    }
}
