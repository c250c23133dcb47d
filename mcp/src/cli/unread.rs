//! The reader of stdout, and its end.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The interval between two looks at stdout.
const INTERVAL: Duration = Duration::from_millis(200);

/// Waits until nothing reads stdout any more. A client that ends its input may still read its answers; a client that was
/// killed reads nothing, and without this wait that would be noticed only at the next message for it.
///
/// Never ready if stdout is a file, which has no reader.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn stdout() {
    // Looked at in intervals, because stdout is in blocking mode and may be shared with other processes.
    let mut looks = tokio::time::interval(INTERVAL);
    while !is_unread(std::io::stdout().as_fd()) {
        looks.tick().await;
    }
}

/// Whether the other end of a pipe or socket is closed.
fn is_unread(fd: impl AsFd) -> bool {
    let mut looked_at = [PollFd::new(&fd, PollFlags::empty())];
    let found = poll(&mut looked_at, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let [looked_at] = looked_at;
    found.is_ok() && looked_at.revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_and_a_socket_are_unread_once_their_readers_have_gone() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        assert!(!is_unread(&writer) && !is_unread(&ours));
        drop((reader, theirs));
        assert!(is_unread(&writer) && is_unread(&ours));
        let file = tempfile::tempfile().expect("a file");
        assert!(!is_unread(&file));
    }
}
