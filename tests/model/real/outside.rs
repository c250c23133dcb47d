//! The operations from outside every task: waits, guards, questions, spawns, deadlines, and the attempt of a
//! foreign task.

use super::actor::{GRACE, child};
use super::{Bell, Real};
use crate::model::reference::Reference;
use crate::model::{Answers, Event, RegionId, Until, Uses};
use moored::testing::hand;
use moored::{CancelHandle, GroupGuard, Misuse, task};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Outside {
    waits: Vec<Wait>,
    guards: BTreeMap<RegionId, Vec<GroupGuard>>,
}

struct Wait {
    /// `None` once it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<AtomicBool>,
}

impl Outside {
    pub(super) fn unguard(&mut self, group: RegionId) {
        drop(self.guards.get_mut(&group).map(|guards| guards.remove(0)));
    }

    pub(super) fn drop_guards(&mut self) {
        self.guards.clear();
    }
}

impl Real {
    pub(super) fn set_deadline(&self, region: RegionId, at: Instant) {
        let scope = self.shared.with(|inside| inside.scopes.get(&region).cloned());
        if let Some(scope) = scope.and_then(|scope| scope.upgrade()) {
            scope.set_deadline(at);
        }
    }

    /// R2: the exit that another task registers is handed back, and nothing has changed.
    pub(super) fn trespass(&self, region: RegionId) {
        let stack = self.shared.with(|inside| inside.stacks.get(&region).cloned());
        let Some(stack) = stack.and_then(|stack| stack.upgrade()) else { return };
        let shared = self.shared.clone();
        let exit =
            async move { shared.event(Event::Broken(format!("{region} ran what was rejected"))) };
        let registered = hand(task(async { stack.try_defer(exit) })).ready();
        match registered {
            Err(rejected) if matches!(rejected.error(), Misuse::WrongTask(_)) => {}
            _ => self.shared.event(Event::Broken(format!("region {region} took a foreign exit"))),
        }
    }

    pub(super) fn stop(&self, region: RegionId, grace: Option<usize>) {
        let Some(handle) = self.shared.handle(region) else { return };
        match grace {
            None => handle.stop(),
            Some(ticks) => handle.stop_within(GRACE * ticks as u32),
        }
    }

    pub(super) fn ask(&self, region: RegionId, handle: &CancelHandle) {
        let answers = Answers {
            cancelled: handle.is_cancelled(),
            why: Some(handle.reason().map(|reason| self.shared.why(&reason))),
            stopped: handle.is_stop_requested(),
            deadline: handle.deadline().map(|at| self.shared.tick(at)),
        };
        self.shared.event(Event::Saw(region, answers));
    }

    pub(super) fn wait_until(&mut self, handle: &CancelHandle, until: Until) {
        let future: Pin<Box<dyn Future<Output = ()>>> = match until {
            Until::LessTime => Box::pin(handle.tightened(handle.deadline())),
            Until::Deadline => Box::pin(handle.tightened(None)),
            Until::Cancelled => Box::pin(handle.cancelled()),
            Until::Stopped => Box::pin(handle.stop_requested()),
        };
        let woken = Arc::new(AtomicBool::new(true));
        self.outside.waits.push(Wait { future: Some(future), woken });
    }

    pub(super) fn by_guard(&mut self, group: RegionId, uses: Uses, reference: &Reference) {
        let handle = self.outside.guards[&group][0].handle();
        match uses {
            Uses::Ask => self.ask(group, &handle),
            Uses::Cancel => handle.cancel_because(reference.newest_request().to_string()),
            Uses::Stop => handle.stop(),
            Uses::Await(until) => self.wait_until(&handle, until),
        }
    }

    /// Polls the waits that were woken, and returns whether there were any.
    pub(super) fn poll_waits(&mut self) -> bool {
        let mut polled = false;
        for (number, wait) in self.outside.waits.iter_mut().enumerate() {
            if !wait.woken.swap(false, Ordering::SeqCst) {
                continue;
            }
            let Some(future) = &mut wait.future else { continue };
            polled = true;
            let waker = Waker::from(Bell::new(&wait.woken));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                wait.future = None;
                self.shared.event(Event::Awaited(number));
            }
        }
        polled
    }

    pub(super) fn guard(&mut self, group: RegionId) {
        let spawner = self.shared.with(|inside| inside.spawners[&group].clone());
        let guard = spawner.guard();
        self.shared.event(Event::Guarded(group, guard.is_ok()));
        self.outside.guards.entry(group).or_default().extend(guard);
    }

    pub(super) fn push(&self, group: RegionId, region: RegionId) {
        let spawner = self.shared.with(|inside| inside.spawners[&group].clone());
        match spawner.spawn(child(self.shared.clone(), region)) {
            Ok(child) => {
                self.shared.with(|inside| inside.children.insert(region, Arc::new(child)));
            }
            Err(rejected) => self.shared.event(Event::Broken(rejected.to_string())),
        }
    }
}
