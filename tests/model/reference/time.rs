//! The consequences of a deadline, a grace and a stop, and the answers that tell of them.

use super::{Reference, Shield, State, Wait};
use crate::model::{Answers, Kind, RegionId, Until, Why};
use moored::ReasonKind::{Deadline, Requested};

impl Reference {
    /// R13: a request to wind down, inherited inwards. Of several graces the one that is over first counts. A `Brief`
    /// has a grace of its own, which begins with the first request.
    pub(super) fn stop(&mut self, region: RegionId, grace: Option<usize>) {
        let ticks = self.ticks;
        let at = &mut self.regions[region];
        if !at.lives() {
            return;
        }
        let own = (at.kind == Kind::Brief && !at.stopped).then_some(1);
        let ends = own.into_iter().chain(grace).map(|grace| ticks + grace);
        at.stop_due = ends.chain(at.stop_due).min();
        at.stopped = true;
        self.times_come();
    }

    /// R9, R11, R13: the deadlines and the graces after a stop that have come by this tick. They cancel the regions that
    /// still have their bodies, and the groups that have children or guards. R10: the earlier one gives the reason.
    pub(super) fn times_come(&mut self) {
        for id in 0..self.regions.len() {
            let at = &self.regions[id];
            let come = |due: Option<usize>| due.filter(|due| *due <= self.ticks);
            let kind = match (come(at.due), come(at.stop_due)) {
                (Some(due), stop) if stop.is_none_or(|stop| due <= stop) => Deadline,
                (_, Some(_)) => Requested,
                _ => continue,
            };
            if self.has_times(id) {
                self.cancel(id, Why { kind, request: None, by: None });
            }
        }
    }

    /// Whether the deadline and the stop of a region can still cancel it: until its body has ended, and until a group has no
    /// child and no guard.
    fn has_times(&self, id: RegionId) -> bool {
        self.regions[id].has_body() || self.is_open(id)
    }

    /// R12: a grace begins with the first cancellation from outside.
    pub(super) fn graces_begin(&mut self) {
        for id in 0..self.regions.len() {
            let at = &self.regions[id];
            let brief = at.kind == Kind::Brief && at.shield == Shield::Up && at.lives();
            if brief && self.why(at.parent).is_some() {
                self.regions[id].shield = Shield::Falling;
            }
        }
    }

    pub(super) fn graces_end(&mut self) {
        let falling = self.regions.iter_mut().filter(|at| at.shield == Shield::Falling);
        falling.for_each(|at| at.shield = Shield::Down);
    }

    pub(super) fn answers(&self, region: RegionId) -> Answers {
        let why = self.why(region);
        Answers {
            cancelled: why.is_some(),
            why: Some(why),
            stopped: self.is_stopped(region),
            deadline: self.deadline(region),
        }
    }

    /// R13: a shield does not keep a stop out.
    fn is_stopped(&self, mut region: RegionId) -> bool {
        while !self.regions[region].stopped && region != 0 {
            region = self.regions[region].parent;
        }
        self.regions[region].stopped
    }

    /// R11, R12, R13: the earliest deadline of the region and of those around it, up to a shield. A grace that runs
    /// counts as a deadline.
    pub(super) fn deadline(&self, region: RegionId) -> Option<usize> {
        let (mut at, mut earliest) = (region, None);
        loop {
            let (region, timed) = (&self.regions[at], self.has_times(at));
            let stop = region.stop_due.filter(|_| timed && region.cancelled.is_none());
            let gives_way =
                region.shields() && region.kind == Kind::Brief && self.why(region.parent).is_some();
            let shield = gives_way.then_some(self.ticks + 1);
            earliest =
                [earliest, region.due.filter(|_| timed), stop, shield].into_iter().flatten().min();
            if at == 0 || region.shields() {
                return earliest;
            }
            at = region.parent;
        }
    }

    /// A wait makes the groups around its region known to the cancellations further out.
    pub(super) fn wait_until(&mut self, region: RegionId, until: Until) {
        let seen = self.deadline(region).filter(|_| until == Until::LessTime);
        self.waits.push(Wait { region, until, seen, ended: false, answered: false });
        let mut at = region;
        while at != 0 {
            self.regions[at].found |= self.regions[at].kind.is_group();
            at = self.regions[at].parent;
        }
    }

    /// R11, R13: a wait ends with the event that it waits for: a cancellation, a stop, or, if it waits for less time, less
    /// time than when it began or a cancellation. A wait that sees no such event before its region is left does not end.
    pub(super) fn waits_end(&mut self) -> Result<(), String> {
        for number in 0..self.waits.len() {
            let Wait { region: id, until, seen, ended, answered } = self.waits[number];
            if answered {
                continue;
            }
            let region = &self.regions[id];
            let due = self.deadline(id);
            let cancelled = || match region.state {
                State::Dropped => region.cancelled.or(region.dropped_for).is_some(),
                State::Left => region.cancelled.is_some(),
                _ => self.why(id).is_some() || due.is_some_and(|due| due <= self.ticks),
            };
            let ends = match until {
                Until::Stopped => region.lives() && self.is_stopped(id),
                Until::Cancelled => cancelled(),
                Until::LessTime | Until::Deadline => {
                    let less = due.is_some_and(|due| seen.is_none_or(|seen| due < seen));
                    cancelled() || region.lives() && less
                }
            };
            // A wait that has ended before its region was left.
            let before = ended && !region.lives();
            self.waits[number].answered = ended;
            if ends != ended && !before {
                return Err(format!(
                    "the wait {number} in region {id}, until {until:?}, ended: {ended}, expected: {ends} (R11, R13)"
                ));
            }
        }
        Ok(())
    }
}
