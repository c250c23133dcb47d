//! The kinds of regions.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    /// A task that a group spawned: the group can cancel it.
    Child,
    Scope,
    /// A scope around one future, shielded from cancellation from outside.
    Shield,
    /// A scope around one future, with a deadline.
    Timeout,
    Stack,
    Group,
}

impl Kind {
    /// Whether a region of this kind can be cancelled itself. A stack and a task have neither a handle nor a deadline, so they
    /// pass no signal on, and links skip them.
    pub(super) fn can_be_cancelled(self) -> bool {
        !matches!(self, Kind::Stack | Kind::Task)
    }

    /// The noun for it in texts.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Kind::Task | Kind::Child => "task",
            Kind::Scope => "cancel scope",
            Kind::Shield => "shield",
            Kind::Timeout => "timeout",
            Kind::Stack => "exit stack",
            Kind::Group => "task group",
        }
    }
}
