//! The components of a session by their names in the group.

use std::collections::HashMap;

use super::Live;
use crate::component::{ComponentInfo, ComponentKind};

/// The position of each component in the list of its session. It is kept when the session is gone, so that a request
/// for one of its components gets the cause of its end.
#[derive(Debug, Default)]
pub(crate) struct Offered(HashMap<ComponentKind, HashMap<String, usize>>);

impl Offered {
    /// If several components have the same name, it belongs to the first.
    pub(crate) fn of(components: &[ComponentInfo]) -> Self {
        let mut offered = Self::default();
        for (place, component) in components.iter().enumerate() {
            let names = offered.0.entry(component.kind).or_default();
            names.entry(component.hooked.clone()).or_insert(place);
        }
        offered
    }

    pub(crate) fn place(&self, kind: ComponentKind, hooked: &str) -> Option<usize> {
        self.0.get(&kind)?.get(hooked).copied()
    }
}

impl Live {
    /// All components of a kind, in the order of the server's list.
    pub(crate) fn all(&self, kind: ComponentKind) -> impl Iterator<Item = &ComponentInfo> {
        self.components.iter().filter(move |component| component.kind == kind)
    }
}
