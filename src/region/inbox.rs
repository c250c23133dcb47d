//! A region's inbox from other regions: exits to adopt, failures to record (R8, R15).
//!
//! # Invariants
//!
//! 1. Waves are added under the lock, after `LEFT` was read (invariant 2 of the room).
//! 2. An abandoned wave is in one place: an inbox, the lane of a frame, a task on an executor, or with the caller
//!    that hands it over. A region that cannot take it gives it back, and the next one outwards is offered it (R8).
//! 3. `INBOX` is set and the waker of the run is taken in one step, so the run finds the wave.

use super::ambient;
use super::exits::Exit;
use super::flags::{INBOX, LEFT, REWAKE};
use super::kind::Kind;
use super::node::Node;
use super::observe;
use super::on_executor;
use super::owner;
use super::shortcut;
use super::wave::{Batch, Wave};
use crate::failure::Failures;
use crate::reason::Leaving;
use crate::report::{Report, report};
use crate::spawn::Spawn;
use crate::sync::Arc;
use crate::wakers::wake_all;

/// A wave of one exit of this region, which is sorted by `number` among those of other regions.
pub(crate) fn wave_of(node: &Arc<Node>, exit: Exit, number: u64, why: Leaving) -> Wave {
    let mut wave = Wave::new(node.owner.get().task);
    wave.add_batch(Batch { number, why, home: Some(Arc::clone(node)), exits: exit.into() });
    wave
}

/// Takes the content of the inbox, for the run: adopted waves, and failures that were sent
/// here.
pub(super) fn take_inbox(node: &Node) -> (Vec<Wave>, Failures) {
    let mut inner = node.inner.lock();
    node.lower(&inner, INBOX);
    let records = inner.rest_mut().map(|rest| std::mem::take(&mut rest.sent));
    let adopted = std::mem::take(&mut inner.more().adopted);
    (adopted, records.unwrap_or_default())
}

/// Gives `wave` to the nearest live region around this one, or reports its exits lost (R8, invariant 2).
pub(crate) fn hand_over(region: &Arc<Node>, mut wave: Wave) {
    if wave.is_empty() {
        return;
    }
    wave.disarm();
    // The exits that an executor child abandons run on its executor, and its group waits for
    // them.
    let spawner = if region.is_task() { spawner(region) } else { None };
    if let (Some(spawner), Kind::Child) = (&spawner, region.kind) {
        wave = match on_executor::run_on(region, &**spawner, wave) {
            Ok(wait) => wave_of(region, wait, 0, Leaving::Abandoned),
            Err(refused) => refused,
        };
    }
    let told = observe::adopted(region, &wave);
    wave = match shortcut::offer(region, wave, adopt) {
        Ok(node) => return told(&node),
        Err(back) => back,
    };
    if let (Some(spawner), false) = (&spawner, region.kind == Kind::Child) {
        match on_executor::run_on(region, &**spawner, wave) {
            // No region is left that could wait for it.
            Ok(_) => return,
            Err(refused) => wave = refused,
        }
    }
    match offer_here(region, wave) {
        Ok(node) => told(&node),
        Err(lost) => report_lost(region, lost),
    }
}

/// For a region that no live region is around. If it was entered where no task was known, or in the current task of the
/// runtime, the region that is current at the drop is the nearest one.
fn offer_here(region: &Node, wave: Wave) -> Result<Arc<Node>, Wave> {
    let here = if owner::is_of_no_other_task(region) { ambient::current() } else { None };
    let Some((here, _)) = here else { return Err(wave) };
    match adopt(&here, wave) {
        Ok(()) => Ok(here),
        Err(back) => shortcut::offer(&here, back, adopt),
    }
}

/// Reports exits that no region will run.
pub(super) fn report_lost(node: &Node, wave: Wave) {
    let (registered_at, stacks): (Vec<_>, Vec<_>) = wave.exits().unzip();
    if !registered_at.is_empty() {
        report(Report::LostExits { region: owner::describe(node), registered_at, stacks });
    }
    wave.discard();
}

fn spawner(node: &Node) -> Option<Arc<dyn Spawn + Send + Sync>> {
    node.inner.lock().rest_seen().and_then(|rest| rest.spawner.clone())
}

pub(crate) fn set_spawner(node: &Node, spawner: Arc<dyn Spawn + Send + Sync>) {
    let old = node.inner.lock().rest().spawner.replace(spawner);
    drop(old);
}

/// As [`hand_over`], beginning with this region itself.
pub(crate) fn hand_in(node: &Arc<Node>, wave: Wave) {
    if let Err(wave) = adopt(node, wave) {
        hand_over(node, wave);
    }
}

pub(super) fn adopt(node: &Node, wave: Wave) -> Result<(), Wave> {
    let waker = {
        let mut inner = node.inner.lock();
        // Under the lock (invariant 1).
        if node.has(LEFT) || !node.is_open() {
            return Err(wave);
        }
        let adopted = &mut inner.more().adopted;
        // Most often it is the only wave.
        adopted.reserve_exact(usize::from(adopted.is_empty()));
        adopted.push(wave);
        // Invariant 3.
        node.raise(&inner, INBOX | REWAKE);
        inner.waker.take()
    };
    wake_all(waker);
    Ok(())
}
