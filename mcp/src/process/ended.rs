//! The end of one process, as an event to wait for.
//!
//! SIGCHLD wakes every waiter of the program when some child has ended: of two hundred children that are left at once,
//! each would be looked at two hundred times. A descriptor wakes one waiter for one child. Without a descriptor
//! (another operating system, an old kernel, no descriptor left), the signal is used.

use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// The interval between looks if not even the signal can be had.
const POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// Waits for the end of a child that has not been reaped; by default by the signal.
#[derive(Debug, Default)]
pub(super) struct Ended {
    #[cfg(target_os = "linux")]
    pidfd: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
}

impl Ended {
    /// For the child `leader`, with a descriptor if there is one.
    ///
    /// # Panics
    ///
    /// Outside of a runtime with an IO driver.
    #[cfg(target_os = "linux")]
    #[allow(
        deprecated,
        reason = "the successor is unsafe, because a type may lie about its descriptor; an `OwnedFd` does not"
    )]
    pub(super) fn of(leader: Pid) -> Self {
        use rustix::process::{PidfdFlags, pidfd_open};
        use tokio::io::{Interest, unix::AsyncFd};
        let pidfd = pidfd_open(leader, PidfdFlags::NONBLOCK).ok();
        let pidfd = pidfd.and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE).ok());
        Self { pidfd }
    }

    /// For the child `leader`.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(_leader: Pid) -> Self {
        Self {}
    }

    /// Calls `look` until it returns a value: at once, and whenever the child may have ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a value of `look` stays visible.
    pub(super) async fn seen<T>(&self, look: impl Fn() -> Option<T>) -> T {
        #[cfg(target_os = "linux")]
        if let Some(pidfd) = &self.pidfd {
            loop {
                if let Some(seen) = look() {
                    return seen;
                }
                // It fails when the runtime shuts down.
                let Ok(mut ready) = pidfd.readable().await else { break };
                // Readiness is kept for other waiters if the child has ended, and cleared if it was too early; an
                // event between this look and the clearing is seen by the next look.
                if let Some(seen) = look() {
                    return seen;
                }
                ready.clear_ready();
            }
        }
        // Registered before the first look, so that an exit between the two is a wake-up and not
        // lost.
        let mut child_signals = signal(SignalKind::child()).ok();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            match &mut child_signals {
                Some(signals) => {
                    signals.recv().await;
                }
                None => tokio::time::sleep(POLL).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::process::{Command, Stdio};

    use futures_util::FutureExt;
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    /// Waits for a child that ends while it is waited for.
    async fn sees_the_end(ended: impl FnOnce(Pid) -> Ended) {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.expect("cat");
        let leader = Pid::from_child(&child);
        let ended = ended(leader);
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let mut seen = pin!(ended.seen(|| waitid(WaitId::Pid(leader), look).expect("a look")));
        assert!((&mut seen).now_or_never().is_none());
        drop(child.stdin.take());
        assert_eq!(seen.await.exit_status(), Some(0));
        child.wait().expect("reaped");
    }

    #[tokio::test]
    async fn the_end_is_seen_by_the_childs_descriptor() {
        sees_the_end(Ended::of).await;
    }

    #[tokio::test]
    async fn the_end_is_seen_by_the_signal_where_there_is_no_descriptor() {
        sees_the_end(|_| Ended::default()).await;
    }
}
