//! What a child has not read of its standard input.

use std::os::fd::{AsFd, OwnedFd};

/// A look at the pipe to a child's standard input, from the writing end.
///
/// The child does not see the end of its input before this is dropped.
#[derive(Debug)]
pub(crate) struct Unread(Option<OwnedFd>);

impl Unread {
    /// Of the pipe that `stdin` writes to. Without a descriptor to spare nothing is known.
    pub(super) fn of(stdin: &impl AsFd) -> Self {
        Self(stdin.as_fd().try_clone_to_owned().ok())
    }

    /// How many bytes are still in the pipe; `None` where the operating system does not tell. A child that has ended
    /// leaves them there.
    pub(crate) fn bytes(&self) -> Option<u64> {
        rustix::io::ioctl_fionread(self.0.as_ref()?).ok()
    }
}
