//! The statuses of children in a program that was started with SIGCHLD ignored.
//!
//! That is inherited: a shell that has run `trap '' CHLD` passes it on. The kernel then reaps each child when it ends, and
//! its status is lost. With a handler for the signal the kernel keeps the status until it is asked for.

use std::sync::Once;

/// Makes the kernel keep the statuses of children from here on, if it does not do so already. Looked at once, because a
/// program that changes it later does so on purpose.
pub(super) fn keep() {
    static LOOKED: Once = Once::new();
    LOOKED.call_once(|| {
        if is_ignored() {
            // The runtime's handler stays for the rest of the program. Without a driver for signals, statuses are lost.
            let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child());
        }
    });
}

/// Whether SIGCHLD is ignored.
#[cfg(target_os = "linux")]
fn is_ignored() -> bool {
    let child = rustix::process::Signal::CHILD.as_raw();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (child - 1)) != 0)
}

/// On other systems the handler is needed anyway, to wait for children.
#[cfg(not(target_os = "linux"))]
fn is_ignored() -> bool {
    true
}
