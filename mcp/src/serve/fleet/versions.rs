//! The numbers of changes of the lists of a fleet.

use crate::component::ComponentKind;

/// The number of changes of each kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::serve) struct Versions {
    pub(in crate::serve) tools: u64,
    pub(in crate::serve) prompts: u64,
    pub(in crate::serve) resources: u64,
    pub(in crate::serve) templates: u64,
}

impl Versions {
    /// The number of changes of one list.
    pub(in crate::serve) fn of(&mut self, kind: ComponentKind) -> &mut u64 {
        match kind {
            ComponentKind::Tool => &mut self.tools,
            ComponentKind::Prompt => &mut self.prompts,
            ComponentKind::Resource => &mut self.resources,
            ComponentKind::ResourceTemplate => &mut self.templates,
        }
    }

    /// The kinds of lists with changes beyond those of `known` and of `got`.
    pub(in crate::serve) fn beyond(mut self, mut known: Self, mut got: Self) -> Vec<ComponentKind> {
        let is_new = |kind: &ComponentKind| *self.of(*kind) > *known.of(*kind).max(got.of(*kind));
        KINDS.into_iter().filter(is_new).collect()
    }
}

/// All kinds of lists.
pub(super) const KINDS: [ComponentKind; 4] = [
    ComponentKind::Tool,
    ComponentKind::Prompt,
    ComponentKind::Resource,
    ComponentKind::ResourceTemplate,
];
