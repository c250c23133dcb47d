//! The names that components have in their group, each of which one session holds.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::component::{ComponentInfo, ComponentKind};
use crate::fault::Fault;
use crate::names::Names;
use crate::report::Outcome;
use crate::wire::Offer;

type Key = (ComponentKind, Arc<str>);

/// The names in a group, and the session that holds each.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<Key, Arc<str>>>);

/// The names of one session, which are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    server: Arc<str>,
    names: HashSet<Key>,
}

/// The reason why a component cannot have its hooked name.
#[derive(Debug)]
pub(super) struct Conflict {
    what: String,
    outcome: Outcome,
}

impl Conflict {
    /// The failure of a server that would come up with this conflict.
    pub(super) fn fault(self) -> Fault {
        let ending = match self.outcome {
            Outcome::DuplicateName => ", so the server is left again",
            _ => "",
        };
        Fault::new(self.outcome, format!("{}{ending}", self.what))
    }

    /// The warning, if the server is already up and stays up without the component.
    pub(super) fn warning(self) -> String {
        format!("{}, so it is left out", self.what)
    }
}

impl Claims {
    /// A claim of `server` to no names.
    pub(super) fn of(self: &Arc<Self>, server: &Arc<str>) -> Claim {
        Claim { claims: self.clone(), server: server.clone(), names: HashSet::new() }
    }
}

impl Claim {
    /// Takes the names of `components` and frees all other names of this claim. Returns the components that have their
    /// names, and a conflict for each name that another server holds. With `all`, one conflict is enough that nothing is
    /// taken or freed.
    pub(super) fn update(
        &mut self,
        components: Vec<ComponentInfo>,
        all: bool,
    ) -> (Vec<ComponentInfo>, Vec<Conflict>) {
        let mut claimed = self.claims.0.lock();
        let mut conflicts = Vec::new();
        let mut names = HashSet::with_capacity(components.len());
        let mut kept = Vec::with_capacity(components.len());
        for component in components {
            let key = (component.kind, component.hooked.as_str().into());
            match claimed.get(&key).filter(|holder| !Arc::ptr_eq(holder, &self.server)) {
                Some(holder) => conflicts.push(taken(&component, holder)),
                None => {
                    names.insert(key);
                    kept.push(component);
                }
            }
        }
        if all && !conflicts.is_empty() {
            return (Vec::new(), conflicts);
        }
        for key in self.names.difference(&names) {
            claimed.remove(key);
        }
        claimed.extend(names.iter().map(|key| (key.clone(), self.server.clone())));
        drop(claimed);
        self.names = names;
        (kept, conflicts)
    }
}

fn taken(component: &ComponentInfo, holder: &Arc<str>) -> Conflict {
    let ComponentInfo { kind, hooked, server, .. } = component;
    let what = format!(
        "the {kind} {hooked:?} belongs to server {holder:?}, and server {server:?} has one of that name as well \
         (`GroupOptions::names` can give them different names)"
    );
    Conflict { what, outcome: Outcome::DuplicateName }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.claims.0.lock();
        for key in &self.names {
            claimed.remove(key);
        }
    }
}

/// The components of a server with their hooked names.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) components: Vec<ComponentInfo>,
    /// A line for each name that a server lists more than once.
    pub(super) warnings: Vec<String>,
    /// A conflict for each component without a hooked name.
    pub(super) conflicts: Vec<Conflict>,
}

impl Named {
    pub(super) fn of(names: &Names, server: &str, offers: Vec<Offer>) -> Self {
        let mut named = Self::default();
        let mut seen = HashMap::with_capacity(offers.len());
        named.components.reserve(offers.len());
        for Offer { kind, name, wire, description, raw } in offers {
            let hooked = match names.hook(kind, server, &name) {
                Ok(hooked) => hooked,
                Err(panic) => {
                    let what = format!("the name hook panicked at the {kind} {name:?}: {panic}");
                    named.conflicts.push(Conflict { what, outcome: Outcome::Other });
                    continue;
                }
            };
            match seen.entry((kind, hooked.clone())) {
                Entry::Vacant(free) => {
                    free.insert(name);
                }
                Entry::Occupied(first) if *first.get() == name => {
                    named.warnings.push(format!(
                        "there is more than one {kind} {name:?}: the first one has the name"
                    ));
                    // Another one of the name can never be asked for, and models refuse two tools with one name.
                    if let ComponentKind::Tool | ComponentKind::Prompt = kind {
                        continue;
                    }
                }
                Entry::Occupied(first) => {
                    let first = first.get();
                    let what = format!(
                        "the {kind}s {first:?} and {name:?} of server {server:?} are both named {hooked:?} by \
                         `GroupOptions::names`"
                    );
                    named.conflicts.push(Conflict { what, outcome: Outcome::DuplicateName });
                    continue;
                }
            }
            let server = server.to_owned();
            named.components.push(ComponentInfo { hooked, server, wire, kind, description, raw });
        }
        named.warnings.dedup();
        named
    }
}
