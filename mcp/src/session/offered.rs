//! The components of a session by the names that the group has for them.

use std::collections::HashMap;

use super::Live;
use crate::component::{ComponentInfo, ComponentKind};

/// Where each component stands in the list of its session. It is kept when the session is gone, so that a request for one of
/// its components can be told what became of it.
#[derive(Debug, Default)]
pub(crate) struct Offered(HashMap<ComponentKind, HashMap<String, usize>>);

impl Offered {
    /// Of several with the same name, the first one has it.
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
