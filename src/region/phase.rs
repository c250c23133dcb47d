//! The state of a region, as an observer sees it.

#[cfg(feature = "tracing")]
use std::fmt;
use std::panic::Location;

/// The state of a region, as an observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The state in which every region begins. Only a snapshot shows it.
    #[cfg(feature = "inspect")]
    Body,
    /// The body has ended, children have not.
    Children,
    /// The region runs the exits that were abandoned inside.
    Adopted,
    /// The region runs its own exit that was registered at this place.
    Exit(&'static Location<'static>),
}

/// The activity of a region, to be written after its name.
#[cfg(feature = "tracing")]
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "inspect")]
            Phase::Body => f.write_str("runs its body"),
            Phase::Children => f.write_str("waits for its children"),
            Phase::Adopted => f.write_str("waits for exits that it adopted"),
            Phase::Exit(at) => write!(f, "runs the exit registered at {at}"),
        }
    }
}
