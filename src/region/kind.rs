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
    /// One of the runs inside an entered scope: cancelled with the scope, and for the same
    /// reason.
    Stay,
    Stack,
    Group,
}

impl Kind {
    /// The noun for it in texts.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Kind::Task | Kind::Child => "task",
            Kind::Scope | Kind::Stay => "cancel scope",
            Kind::Shield => "shield",
            Kind::Timeout => "timeout",
            Kind::Stack => "exit stack",
            Kind::Group => "task group",
        }
    }
}
