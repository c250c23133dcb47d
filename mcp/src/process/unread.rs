//! The bytes that a child has not read of its standard input.

use std::os::fd::{AsFd, OwnedFd};

/// A look at the pipe to a child's standard input, from the writing end.
///
/// The child does not see the end of its input before this is dropped.
#[derive(Debug)]
pub(crate) struct Unread(Option<OwnedFd>);

impl Unread {
    /// For the pipe that `stdin` writes to. If no descriptor is left, the number is not known.
    pub(super) fn of(stdin: &impl AsFd) -> Self {
        Self(stdin.as_fd().try_clone_to_owned().ok())
    }

    /// The number of bytes that are still in the pipe; `None` if the operating system does not report it. A child
    /// that has ended leaves them there.
    pub(crate) fn bytes(&self) -> Option<u64> {
        rustix::io::ioctl_fionread(self.0.as_ref()?).ok()
    }
}
