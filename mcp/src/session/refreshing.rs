//! The listing of a server is kept up to date while it is up: lists that have changed are read again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::time::Instant;

use super::attempt::{Context, Held};
use super::listing::Difference;
use super::naming::{Claim, Conflict, Named};
use super::{Listing, Stage};
use crate::component::{ComponentInfo, ComponentKind};
use crate::duration::show_duration;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::wire::{Gone, Link, Offers};

/// The wait for more notices after the first: a server that adds ten tools may send ten.
const SETTLE: Duration = Duration::from_millis(50);
/// The pause after a reading: without it, a server that sends a notice at each reading would be asked without end.
const REST: Duration = Duration::from_millis(500);

/// The number of tries to read lists again that could not be read.
const TRIES: u32 = 8;
/// The pause before the first try; it doubles from try to try.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The lists that could not be read, each with the reason.
type Broken = BTreeMap<ComponentKind, Fault>;

/// Reads the lists that have changed, for ever. A list that could not be read is read again without a notice, unless the
/// server has refused it: a refusal stands until the server, or a user, gives a reason to ask again.
pub(super) async fn keep_lists(
    context: Context<'_>,
    held: &Held,
    link: &Link,
    (claim, broken): (&mut Claim, &mut Broken),
) -> Infallible {
    let notices = &held.side.pending.notices;
    let mut rested = Instant::now();
    let mut failed = Failed::of(broken);
    let mut tries = 0;
    loop {
        // Boxed, because an idle session must not keep room for it.
        let again = (!failed.lists.is_empty() && tries < TRIES)
            .then(|| Box::pin(tokio::time::sleep(pause(tries).max(failed.wait))));
        tokio::select! {
            () = notices.a_list_changed() => {
                tokio::time::sleep_until(rested.max(Instant::now() + SETTLE)).await;
            }
            Some(()) = OptionFuture::from(again) => {}
        }
        let mut kinds = notices.changed_lists();
        kinds.append(&mut failed.lists);
        failed = match read(context, held, link, &kinds).await {
            Some(offers) => {
                let failed = Failed::of(&offers.broken);
                relist(context, held, (claim, broken), kinds, offers);
                failed
            }
            None => Failed { lists: kinds, wait: Duration::ZERO },
        };
        tries = if failed.lists.is_empty() { 0 } else { tries + 1 };
        rested = Instant::now() + REST;
    }
}

/// The lists that could not be read, and that the server may give later.
#[derive(Debug)]
struct Failed {
    lists: BTreeSet<ComponentKind>,
    /// The longest pause that the server asks for.
    wait: Duration,
}

impl Failed {
    fn of(broken: &Broken) -> Self {
        let failed = || broken.iter().filter(|(_, fault)| !fault.is_refusal);
        let wait = failed().filter_map(|(_, fault)| fault.wait).max().unwrap_or_default();
        Self { lists: failed().map(|(kind, _)| *kind).collect(), wait }
    }
}

/// The pause before lists are read again that could not be read.
fn pause(tries: u32) -> Duration {
    FIRST.saturating_mul(1 << tries.min(TRIES)).min(LONGEST)
}

/// Reads these lists. `None` if they could not be read; the reason is among the warnings.
async fn read(
    context: Context<'_>,
    held: &Held,
    link: &Link,
    kinds: &BTreeSet<ComponentKind>,
) -> Option<Offers> {
    let options = &context.shared.options;
    let reading = link.offers(kinds, options.page_cap, &held.recorder);
    match tokio::time::timeout(options.connect_timeout, reading).await {
        Ok(Ok(offers)) => Some(offers),
        // The owner is about to see the end of the session.
        Ok(Err(Gone)) => None,
        Err(_) => {
            let limit = show_duration(options.connect_timeout);
            held.recorder.warn(format!("lists that have changed were not read within {limit}"));
            None
        }
    }
}

/// Replaces the lists that could be read. A component is left out if another server has its name.
fn relist(
    context: Context<'_>,
    held: &Held,
    (claim, broken): (&mut Claim, &mut Broken),
    mut kinds: BTreeSet<ComponentKind>,
    offers: Offers,
) {
    let Context { session, shared, .. } = context;
    let Stage::Up(live) = session.stage() else { return };
    kinds.retain(|kind| !offers.broken.contains_key(kind));
    let named = Named::of(&shared.options.names, &session.name, offers.all);
    let merged = merged(&kinds, named.components, &live.listing);
    let (components, taken) = claim.update(merged, false);
    let conflicts = named.conflicts.into_iter().chain(taken).map(Conflict::warning);
    named.warnings.into_iter().chain(conflicts).for_each(|warning| held.recorder.warn(warning));

    let listing = Listing::of(components);
    let changes: Vec<_> = kinds
        .into_iter()
        .filter_map(|kind| {
            let was_broken = broken.remove(&kind).is_some();
            let change = listing.since(&live.listing, kind);
            Some((kind, change.or_else(|| was_broken.then(Difference::default))?))
        })
        .collect();
    if changes.is_empty() {
        return;
    }
    session.relist(listing, broken.values().next());
    for (kind, change) in changes {
        session.tell(shared, || EventKind::ListChanged {
            kind,
            added: change.added,
            removed: change.removed,
            altered: change.altered,
        });
    }
}

/// The components of the lists that were read, and those of the others as they were.
fn merged(
    kinds: &BTreeSet<ComponentKind>,
    read: Vec<ComponentInfo>,
    before: &Listing,
) -> Vec<ComponentInfo> {
    let others = before.components.iter().filter(|it| !kinds.contains(&it.kind)).cloned();
    let read = read.into_iter().filter(|it| kinds.contains(&it.kind));
    let mut merged: Vec<_> = read.chain(others).collect();
    // The sort is stable, so the server's order within a kind stays as it is.
    merged.sort_by_key(|component| component.kind);
    merged
}

/// Sends an event for each resource that has changed, for ever.
pub(super) async fn pass_updates_on(context: Context<'_>, held: &Held) -> Infallible {
    let Context { session, shared, .. } = context;
    loop {
        for uri in held.side.pending.notices.updates().await {
            session.tell(shared, || {
                let hooked = match session.stage() {
                    Stage::Up(live) => {
                        let mut resources = live.listing.all(ComponentKind::Resource);
                        resources.find(|it| it.wire == uri).map(|it| it.hooked.clone())
                    }
                    _ => None,
                };
                EventKind::ResourceUpdated { uri, hooked }
            });
        }
    }
}
