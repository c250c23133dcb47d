//! The names that components have in their group, each of which one session holds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::component::{ComponentInfo, ComponentKind};
use crate::fault::Fault;
use crate::names::Names;
use crate::report::Outcome;
use crate::wire::Offer;

type Key = (ComponentKind, String);

/// The names in a group, and the session that holds each.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<Key, Arc<str>>>);

/// The names of one session, which are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    names: Vec<Key>,
}

impl Claims {
    /// Takes the names of all `components` for `server`, or none of them if another server holds one.
    pub(super) fn claim(
        self: &Arc<Self>,
        server: &Arc<str>,
        components: &[ComponentInfo],
    ) -> Result<Claim, Fault> {
        let mut names: Vec<Key> =
            components.iter().map(|it| (it.kind, it.hooked.clone())).collect();
        names.sort_unstable();
        names.dedup();
        let mut claimed = self.0.lock();
        if let Some((taken, holder)) = names.iter().find_map(|key| Some((key, claimed.get(key)?))) {
            let (kind, name) = taken;
            return Err(Fault::new(
                Outcome::DuplicateName,
                format!(
                    "the {kind} {name:?} belongs to server {holder:?}, so server {server:?} is left again; \
                     `GroupOptions::names` can give them different names"
                ),
            ));
        }
        claimed.extend(names.iter().map(|key| (key.clone(), server.clone())));
        Ok(Claim { claims: self.clone(), names })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.claims.0.lock();
        for key in &self.names {
            claimed.remove(key);
        }
    }
}

/// The components of a server, under their names in the group. A warning names each component that has to share
/// its name.
pub(super) fn named(
    names: &Names,
    server: &str,
    offers: Vec<Offer>,
) -> Result<(Vec<ComponentInfo>, Vec<String>), Fault> {
    let mut warnings = Vec::new();
    let mut seen: HashMap<Key, String> = HashMap::new();
    let mut components = Vec::with_capacity(offers.len());
    for Offer { kind, name, wire, description, raw } in offers {
        let hooked = names.hook(kind, server, &name).map_err(|panic| {
            let text = format!("the name hook panicked at the {kind} {name:?}: {panic}");
            Fault::new(Outcome::Other, text)
        })?;
        match seen.entry((kind, hooked.clone())) {
            Entry::Vacant(free) => drop(free.insert(name)),
            Entry::Occupied(first) if *first.get() == name => warnings.push(format!(
                "there is more than one {kind} {name:?}: the first one has the name"
            )),
            Entry::Occupied(first) => {
                let first = first.get();
                return Err(Fault::new(
                    Outcome::DuplicateName,
                    format!(
                        "the {kind}s {first:?} and {name:?} of server {server:?} are both named {hooked:?} by \
                         `GroupOptions::names`, so the server is left again"
                    ),
                ));
            }
        }
        let server = server.to_owned();
        components.push(ComponentInfo { hooked, server, wire, kind, description, raw });
    }
    warnings.dedup();
    Ok((components, warnings))
}
