//! The region or exit that an operation applies to: the candidates are counted round, so that
//! every seed is a program.

use super::{Exit, Reference, Region, State};
use crate::model::{Because, End, ExitId, ExitPlan, Kind, Op, RegionId, Uses, Why};
use moored::ReasonKind;

impl Reference {
    const REGIONS: usize = 40;

    /// Applies the operation to the reference. Returns it with the numbers of its operands, or nothing if there is
    /// no candidate.
    pub(crate) fn apply(&mut self, op: Op) -> Option<Op> {
        self.back = None;
        let spawns = |r: &Region| r.kind.is_group() && r.has_body();
        let has_handle = |r: &Region| r.has_body() && (r.kind.is_scope() || r.kind.is_group());
        Some(match op {
            Op::Enter(at, kind) => Op::Enter(self.open(at, kind, Region::has_body)?, kind),
            Op::Spawn(at) => {
                let group = self.open(at, Kind::Child, spawns)?;
                self.spawned(self.newest_region());
                Op::Spawn(group)
            }
            Op::Detach(at) => {
                let group = self.open(at, Kind::Child, spawns)?;
                let child = self.newest_region();
                self.regions[child].detached = true;
                self.spawned(child);
                Op::Detach(group)
            }
            Op::Defer(at, plan) => {
                let (stack, plan) = self.register(at, plan, false)?;
                Op::Defer(stack, plan)
            }
            Op::Hold(at, plan) => {
                let (stack, plan) = self.register(at, plan, true)?;
                Op::Hold(stack, plan)
            }
            Op::PutBack(at) => {
                let exit = self.pick_exit(at, |exit| exit.out)?;
                self.put_back(exit);
                Op::PutBack(exit)
            }
            Op::Open(at) => {
                let exit = self.pick_exit(at, |exit| exit.plan.gated && !exit.open)?;
                self.exit(exit).open = true;
                Op::Open(exit)
            }
            Op::Cancel(at) => {
                let asked = |r: &Region| {
                    r.kind.is_scope() || r.kind.is_group() || r.kind == Kind::Child && !r.detached
                };
                let region = self.pick(at, asked)?;
                self.requests += 1;
                // A child's handle takes no text.
                let request = (self.regions[region].kind != Kind::Child).then_some(self.requests);
                self.cancel(region, Why { kind: ReasonKind::Requested, request, by: None });
                Op::Cancel(region)
            }
            Op::Expire(at) => {
                let region = self.pick(at, |r| r.kind.is_scope() && r.has_body())?;
                self.regions[region].due = Some(self.ticks);
                self.times_come();
                Op::Expire(region)
            }
            Op::Release(at) => {
                let loose = self.pick(at, |region| self.may_be_closed(region))?;
                self.release(loose);
                Op::Release(loose)
            }
            Op::Adopt(at, which) => {
                let (region, stack) = self.take_from_the_post(at, which)?;
                Op::Adopt(region, stack)
            }
            Op::Discard(at, which) => {
                let (region, stack) = self.take_from_the_post(at, which)?;
                self.drop_region(stack);
                Op::Discard(region, stack)
            }
            Op::Mislay(at) => {
                let stack = self.pick(at, |region| region.state == State::Released)?;
                self.mislay(stack);
                Op::Mislay(stack)
            }
            Op::Due(at) => {
                let region = self.pick(at, |r| r.kind.is_scope() && r.has_body())?;
                self.regions[region].due = Some(self.ticks + 1);
                Op::Due(region)
            }
            Op::Wait => {
                self.ticks += 1;
                self.times_come();
                self.graces_end();
                Op::Wait
            }
            Op::Look(at) => Op::Look(self.pick(at, Region::has_body)?),
            Op::Ask(at) => Op::Ask(self.pick(at, has_handle)?),
            Op::Await(at, until) => {
                let region = self.pick(at, has_handle)?;
                self.wait_until(region, until);
                Op::Await(region, until)
            }
            // Without an effect on the book (R2).
            Op::Trespass(at) => {
                Op::Trespass(self.pick(at, |r| r.kind == Kind::Stack && r.lives())?)
            }
            Op::Stop(at, grace) => {
                let region = self.pick(at, |r| r.kind.is_scope() || r.kind.is_group())?;
                self.stop(region, grace);
                Op::Stop(region, grace)
            }
            Op::Guard(at) => {
                let group = self.pick(at, |r| r.kind.is_group())?;
                self.gives_guard = self.is_open(group);
                self.regions[group].guards += usize::from(self.gives_guard);
                Op::Guard(group)
            }
            Op::Unguard(at) => {
                let group = self.pick(at, |r| r.guards > 0)?;
                self.regions[group].guards -= 1;
                Op::Unguard(group)
            }
            Op::ByGuard(at, uses) => {
                let group = self.pick(at, |r| r.guards > 0 && r.lives())?;
                match uses {
                    Uses::Ask => {}
                    Uses::Cancel => {
                        self.requests += 1;
                        let request = Some(self.requests);
                        self.cancel(group, Why { kind: ReasonKind::Requested, request, by: None });
                    }
                    Uses::Stop => self.stop(group, None),
                    Uses::Await(until) => self.wait_until(group, until),
                }
                Op::ByGuard(group, uses)
            }
            Op::Push(at) => {
                let open = |book: &Self, id| book.is_open(id);
                let group = self.pick_id(at, open)?;
                let group = self.open_in(group, Kind::Child)?;
                self.spawned(self.newest_region());
                Op::Push(group)
            }
            Op::Leave(at, end) => {
                let region = self.pick(at, |r| r.has_body() && r.kind != Kind::Root)?;
                self.leave(region, end);
                Op::Leave(region, end)
            }
            Op::Drop(at) => {
                let in_an_arm = |r: &Region| {
                    !matches!(r.kind, Kind::Root | Kind::Child) && r.lives() && self.in_reach(r)
                };
                let region = self.pick(at, in_an_arm)?;
                self.drop_region(region);
                Op::Drop(region)
            }
            Op::Close(at) => {
                let loose = self.pick(at, |region| self.may_be_closed(region))?;
                self.close(loose);
                Op::Close(loose)
            }
        })
    }

    /// The next step on the way to the program's end, done in the book: values come back, gates open, bodies end, the
    /// newest first, so that nothing is abandoned. `None` when the root has ended.
    pub(crate) fn let_go(&mut self) -> Option<Op> {
        if let Some(op) = [Op::PutBack(0), Op::Open(0), Op::Unguard(0), Op::Adopt(0, 0)]
            .into_iter()
            .find_map(|op| self.apply(op))
        {
            return Some(op);
        }
        let mut newest_first = (0..self.regions.len()).rev();
        if let Some(loose) = newest_first.clone().find(|id| self.may_be_closed(&self.regions[*id]))
        {
            self.close(loose);
            return Some(Op::Close(loose));
        }
        let region = newest_first.find(|id| self.regions[*id].has_body())?;
        self.leave(region, End::Fine);
        Some(Op::Leave(region, End::Fine))
    }

    fn take_from_the_post(&mut self, at: usize, which: usize) -> Option<(RegionId, RegionId)> {
        let region = self.pick(at, Region::has_body)?;
        let stack = self.pick(which, |region| region.state == State::Released)?;
        self.adopt(region, stack);
        Some((region, stack))
    }

    fn close(&mut self, loose: RegionId) {
        self.regions[loose].state = State::Leaving;
        self.regions[loose].because = Some(Because::Completed);
    }

    /// After the root was dropped: every value that is out comes back.
    pub(crate) fn put_everything_back(&mut self) -> Vec<Op> {
        let out = |(id, exit): (&ExitId, &Exit)| exit.out.then_some(*id);
        let out: Vec<_> = self.exits.iter().filter_map(out).collect();
        out.iter().for_each(|id| self.put_back(*id));
        out.into_iter().map(Op::PutBack).collect()
    }

    fn pick(&self, at: usize, fits: impl Fn(&Region) -> bool) -> Option<RegionId> {
        self.pick_id(at, |book, id| fits(&book.regions[id]))
    }

    fn pick_id(&self, at: usize, fits: impl Fn(&Self, RegionId) -> bool) -> Option<RegionId> {
        let fit: Vec<_> = (0..self.regions.len()).filter(|id| fits(self, *id)).collect();
        (!fit.is_empty()).then(|| fit[at % fit.len()])
    }

    fn pick_exit(&self, at: usize, fits: impl Fn(&Exit) -> bool) -> Option<ExitId> {
        let fit: Vec<_> =
            self.exits.iter().filter(|(_, exit)| fits(exit)).map(|(id, _)| *id).collect();
        (!fit.is_empty()).then(|| fit[at % fit.len()])
    }

    /// Opens a region inside one that fits, and returns that one.
    fn open(&mut self, at: usize, kind: Kind, fits: impl Fn(&Region) -> bool) -> Option<RegionId> {
        let around = self.pick(at, fits)?;
        self.open_in(around, kind)
    }

    fn open_in(&mut self, around: RegionId, kind: Kind) -> Option<RegionId> {
        (self.regions.len() < Self::REGIONS).then(|| self.add_region(kind, around))?;
        Some(around)
    }

    fn register(&mut self, at: usize, plan: ExitPlan, out: bool) -> Option<(RegionId, ExitPlan)> {
        let stack = self.pick(at, |region| match region.kind {
            Kind::Stack => region.has_body(),
            _ => self.may_be_closed(region),
        })?;
        // A loose stack may be gone by then, and a lent value's exit has no access to its
        // stack.
        let then = plan.then && !out && self.regions[stack].kind == Kind::Stack;
        let plan = ExitPlan { then, ..plan };
        self.add_exit(self.next_exit, stack, plan, out);
        self.next_exit += 1;
        Some((stack, plan))
    }

    /// Whether the body around the region, which holds it, can still act on it.
    fn in_reach(&self, region: &Region) -> bool {
        self.regions[region.parent].has_body()
    }

    fn may_be_closed(&self, region: &Region) -> bool {
        region.kind == Kind::Loose && region.state == State::Open && self.in_reach(region)
    }
}
