//! The consequences of an operation: each rule once. A function without a rule number is a step of the function above
//! it.

use super::{Abandoned, Exit, Late, Reference, Stage, State};
use crate::model::{Because, End, ExitId, Kind, RegionId};

impl Reference {
    /// R1: a region is entered when it is run, a loose stack by its first use; once.
    pub(super) fn enter(&mut self, region: RegionId) {
        self.next_number += 1;
        self.regions[region].entered.get_or_insert(self.next_number);
    }

    /// R17: a body that fails or panics cancels its siblings in the group, because it counts as one
    /// more child.
    pub(super) fn leave(&mut self, region: RegionId, end: End) {
        self.end_body(region);
        let at = &mut self.regions[region];
        at.end = Some(end);
        at.because = Some(match end {
            End::Fine => Because::Completed,
            End::Error => Because::Failed,
            End::Panic => Because::Panicked,
        });
        at.failed |= end == End::Error;
        at.panicked |= end == End::Panic;
        if at.kind.is_group() && end != End::Fine {
            self.fails(region, region, end == End::Panic);
        }
    }

    /// R7, R16: the regions inside a body end with it, except a group's children and the regions inside
    /// those.
    pub(super) fn end_body(&mut self, region: RegionId) {
        let inside = self.inside_body(region);
        self.regions[region].state = State::Leaving;
        self.abandon(&inside, Some(region));
    }

    pub(super) fn inside_body(&self, region: RegionId) -> Vec<RegionId> {
        let mut inside = self.inside(region);
        inside.retain(|id| self.is_in_body(*id, region));
        inside
    }

    /// The body around drops a region, with everything inside.
    pub(super) fn drop_region(&mut self, region: RegionId) {
        let around = self.regions[region].parent;
        self.abandon_tree(region, Some(around));
    }

    /// Nothing is around the root.
    pub(crate) fn drop_root(&mut self) {
        self.root_dropped = true;
        self.abandon_tree(0, None);
        let released = |id: &RegionId| self.regions[*id].state == State::Released;
        let released: Vec<_> = (0..self.regions.len()).filter(released).collect();
        self.abandon(&released, None);
    }

    /// R4: a released stack is in no region and in no task.
    pub(super) fn release(&mut self, stack: RegionId) {
        self.enter(stack);
        self.regions[stack].state = State::Released;
    }

    /// R4: the task that adopts a stack owns it, and the region current there is around it. The stack is
    /// entered anew.
    pub(super) fn adopt(&mut self, region: RegionId, stack: RegionId) {
        let task = self.regions[region].task;
        let at = &mut self.regions[stack];
        (at.parent, at.task, at.state, at.entered) = (region, task, State::Open, None);
        self.enter(stack);
    }

    /// R4, R8: an unowned stack that is dropped is abandoned to the regions around its former
    /// place.
    pub(super) fn mislay(&mut self, stack: RegionId) {
        let around = self.nearest_live(self.regions[stack].parent);
        // Regions that were left do not count for the reason.
        self.regions[stack].parent = around.unwrap_or(0);
        self.abandon(&[stack], around);
    }

    fn abandon_tree(&mut self, region: RegionId, host: Option<RegionId>) {
        let mut dropped = self.inside(region);
        dropped.push(region);
        self.abandon(&dropped, host);
    }

    /// R8: the exits of dropped regions, their own and those that they had adopted, go to `host`; without a `host` they
    /// are lost.
    fn abandon(&mut self, dropped: &[RegionId], host: Option<RegionId>) {
        self.events += 1;
        for region in dropped {
            let why = self.why(*region);
            let at = &mut self.regions[*region];
            at.state = State::Dropped;
            at.dropped_for = why;
            at.because.get_or_insert(why.map_or(Because::Abandoned, Because::Cancelled));
        }
        let runs_later_by_itself = |exit: &Exit| exit.late == Late::Yes && exit.out;
        for exit in self.exits.values_mut().filter(|exit| dropped.contains(&exit.host)) {
            if matches!(exit.stage, Stage::Ended | Stage::Lost) || runs_later_by_itself(exit) {
                continue;
            }
            match host {
                Some(host) => {
                    let half_way = exit.stage == Stage::Running;
                    exit.abandoned = Some(Abandoned { event: self.events, half_way });
                    exit.host = host;
                }
                None => exit.stage = Stage::Lost,
            }
        }
    }

    /// R8: an exit that has its turn while its value is lent goes, with the value, to the nearest live region.
    pub(super) fn put_back(&mut self, id: ExitId) {
        self.back = Some(id);
        let host = self.nearest_live(self.exits[&id].region);
        let exit = self.exit(id);
        exit.out = false;
        if exit.late == Late::Yes && exit.stage == Stage::Registered {
            match host {
                Some(host) => exit.host = host,
                None => exit.stage = Stage::Lost,
            }
        }
    }

    /// Whether `first` has to have ended before `then` may begin.
    ///
    /// R14: last in, first out, within a region. R7: exits that were abandoned inside a region come before the region's
    /// own. Of the exits that one event abandoned, the half-way exit comes first, then those of the innermost region,
    /// then those of the newest region. Between tasks there is no order.
    pub(super) fn precedes(&self, first: ExitId, then: ExitId) -> bool {
        let (p, e) = (&self.exits[&first], &self.exits[&then]);
        if first == then || !p.pending() || p.late == Late::Yes {
            return false;
        }
        if p.region == e.region {
            let exits = &self.regions[p.region].exits;
            let at = |id| exits.iter().position(|other| *other == id);
            return at(first) > at(then);
        }
        let (inside, outside) = (&self.regions[p.region], &self.regions[e.region]);
        let inner = self.is_inside(p.region, e.region);
        if p.host == e.region && e.host == e.region && inner {
            return true;
        }
        let (Some(p), Some(e)) = (&p.abandoned, &e.abandoned) else { return false };
        let newer = inside.entered > outside.entered;
        p.event == e.event && (inner || inside.task == outside.task && (newer || p.half_way))
    }

    /// R8, R16: a region is left when every exit that it waits for has ended, and every child and guard has left; R9:
    /// unless a region around it has to catch the cancellation that ended its body.
    pub(super) fn settle(&mut self) {
        let has_exits = |book: &Reference, id| {
            book.exits.values().any(|exit: &Exit| exit.host == id && exit.pending())
        };
        while let Some(id) = (0..self.regions.len()).rev().find(|id| {
            self.regions[*id].state == State::Leaving
                && !has_exits(self, *id)
                && !self.is_open(*id)
                && !self.is_caught_outside(*id)
        }) {
            self.left(id);
        }
    }

    /// R16: a group is open until its body, its children and its guards are gone. R7: a guard holds no cancellation up.
    pub(super) fn is_open(&self, group: RegionId) -> bool {
        let guarded = || self.regions[group].guards > 0 && !self.is_cancelled_in_task(group);
        let at = &self.regions[group];
        self.is_at_work(group) || (at.kind.is_group() && at.lives() && guarded())
    }

    fn is_at_work(&self, group: RegionId) -> bool {
        let at = &self.regions[group];
        at.kind.is_group() && at.lives() && (at.has_body() || !self.children(group).is_empty())
    }

    /// R6, R9: the last poll of a cancelled body comes to the regions in it, but not to a child that is neither cancelled
    /// itself nor woken. Such a child falls with the body, and the groups in the child fall with it.
    fn is_cancelled_in_task(&self, group: RegionId) -> bool {
        let mut id = group;
        loop {
            let at = &self.regions[id];
            if at.cancelled.is_some() {
                return true;
            }
            if at.shields() || matches!(at.kind, Kind::Child | Kind::Root) {
                return false;
            }
            id = at.parent;
        }
    }

    /// A child that was woken for another reason gets its last poll, in which a group that only a guard keeps open leaves.
    pub(super) fn may_leave_its_guards(&mut self, group: RegionId) {
        let leaving = self.regions[group].state == State::Leaving;
        if leaving && !self.is_at_work(group) && self.why(group).is_some() {
            self.left(group);
        }
    }

    fn left(&mut self, id: RegionId) {
        self.regions[id].state = State::Left;
        // R15: an exit with a value that is still lent is reported, and no region waits for it.
        for exit in self.exits.values_mut() {
            if exit.host == id && exit.out && exit.late != Late::Yes {
                exit.late = Late::Yes;
                self.expected_still_held += 1;
            }
        }
        let region = &self.regions[id];
        let (kind, group, failed, panicked) =
            (region.kind, region.parent, region.failed, region.panicked);
        // R17: the first failure of a child cancels the others, and the body.
        if kind == Kind::Child && (failed || panicked) {
            self.regions[group].failed |= failed;
            self.regions[group].panicked |= panicked;
            self.fails(group, id, panicked);
        }
    }
}
