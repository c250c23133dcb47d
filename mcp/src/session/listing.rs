//! The components of a session, by the names that the group has for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::component::{ComponentInfo, ComponentKind};

/// The components of a server, sorted by kind, and within a kind in the order of the server's list.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) components: Vec<ComponentInfo>,
    places: Arc<Places>,
}

/// The place of each name in a listing, sorted by kind and name. It is kept after the session has ended, so that a request
/// for one of its components gets the cause of that end.
#[derive(Debug, Default)]
pub(crate) struct Places(Vec<(ComponentKind, String, usize)>);

/// The difference between two listings of one kind, by hooked names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) altered: Vec<String>,
}

impl Listing {
    /// Of several components with the same name, the first one has it.
    pub(crate) fn of(components: Vec<ComponentInfo>) -> Self {
        let each = components.iter().enumerate();
        let mut places: Vec<_> = each.map(|(at, it)| (it.kind, it.hooked.clone(), at)).collect();
        places.sort_unstable();
        places.dedup_by(|later, first| (later.0, &later.1) == (first.0, &first.1));
        Self { components, places: Arc::new(Places(places)) }
    }

    /// The places of its names.
    pub(crate) fn places(&self) -> Arc<Places> {
        self.places.clone()
    }

    /// The component that has a name.
    pub(crate) fn get(&self, kind: ComponentKind, hooked: &str) -> Option<&ComponentInfo> {
        self.components.get(self.places.of(kind, hooked)?)
    }

    /// The input schema of the tool with this wire name.
    pub(crate) fn input_schema(&self, tool: &str) -> Option<&Map<String, Value>> {
        self.all(ComponentKind::Tool).find(|it| it.wire == tool)?.input_schema()
    }

    /// All components of a kind, in the order of the server's list.
    pub(crate) fn all(&self, kind: ComponentKind) -> impl Iterator<Item = &ComponentInfo> {
        self.components.iter().filter(move |component| component.kind == kind)
    }

    /// The number of components of a kind.
    pub(crate) fn count(&self, kind: ComponentKind) -> usize {
        self.all(kind).count()
    }

    /// The changes of one kind from `before` to this listing. `None` if there are none, not even of the order.
    pub(crate) fn since(&self, before: &Self, kind: ComponentKind) -> Option<Difference> {
        if self.all(kind).eq(before.all(kind)) {
            return None;
        }
        let named = |listing: &Self| {
            let mut named = BTreeMap::new();
            for component in listing.all(kind) {
                // The first one has the name.
                named.entry(component.hooked.clone()).or_insert_with(|| component.clone());
            }
            named
        };
        let (mut old, new) = (named(before), named(self));
        let mut difference = Difference::default();
        for (name, component) in new {
            match old.remove(&name) {
                None => difference.added.push(name),
                Some(was) if was != component => difference.altered.push(name),
                Some(_) => {}
            }
        }
        difference.removed = old.into_keys().collect();
        Some(difference)
    }
}

impl Places {
    /// Whether a component of this name was offered.
    pub(crate) fn hold(&self, kind: ComponentKind, hooked: &str) -> bool {
        self.of(kind, hooked).is_some()
    }

    fn of(&self, kind: ComponentKind, hooked: &str) -> Option<usize> {
        let is_at =
            |it: &(ComponentKind, String, usize)| (it.0, it.1.as_str()).cmp(&(kind, hooked));
        self.0.binary_search_by(is_at).ok().map(|at| self.0[at].2)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn tools(tools: &[(&str, &str)]) -> Listing {
        let tool = |(name, about): &(&str, &str)| ComponentInfo {
            hooked: (*name).to_owned(),
            server: "s".to_owned(),
            wire: (*name).to_owned(),
            kind: ComponentKind::Tool,
            description: None,
            raw: Map::from_iter([("description".to_owned(), json!(about))]),
        };
        Listing::of(tools.iter().map(tool).collect())
    }

    #[test]
    fn a_listing_tells_how_it_differs_from_another_one() {
        let before = tools(&[("a", "one"), ("b", "one"), ("c", "one")]);
        let after = tools(&[("d", "one"), ("c", "two"), ("a", "one")]);
        let difference = after.since(&before, ComponentKind::Tool).expect("it differs");
        assert_eq!(difference.added, ["d"]);
        assert_eq!(difference.removed, ["b"]);
        assert_eq!(difference.altered, ["c"]);
        assert_eq!(after.since(&before, ComponentKind::Prompt), None);
        assert_eq!(before.since(&before, ComponentKind::Tool), None);
    }
}
