//! The dead of a process group that only this process reaps.
//!
//! A process whose parent has ended is given to process 1, or to the nearest subreaper. On a usual system that is an
//! init, which reaps it; in a container it may be this program. A wait for any child would take away the children of
//! the runtime and of the rest of the program. So each process is waited for by its own id, and only if it is in the
//! group of a child of ours.

use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::members;

/// The number of looks, and their interval, until a killed group is dead.
const LOOKS: u32 = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Reaps the processes that have ended in the group of `leader`, without the leader itself. The caller has not reaped the leader yet, so the
/// group's id is still its own.
pub(super) fn reap(leader: Pid) {
    if are_ours() {
        look(leader);
    }
}

/// The same until only the leader is left; it blocks for a second at most. The group has been killed.
pub(super) fn reap_all(leader: Pid) {
    if !are_ours() {
        return;
    }
    for _ in 0..LOOKS {
        if look(leader) == 0 {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reaps, and returns the number of processes that are left.
fn look(leader: Pid) -> usize {
    let id = leader.as_raw_nonzero().get();
    let members = members::table().map(|table| table.all_but_leader(id)).unwrap_or_default();
    let reaped = members.iter().filter_map(|process| Pid::from_raw(*process)).filter(|process| {
        // An error means that the process is not our child: then its parent is alive and reaps
        // it.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let asked = || rustix::process::waitid(WaitId::Pid(*process), options);
        matches!(rustix::io::retry_on_intr(asked), Ok(Some(_)))
    });
    members.len() - reaped.count()
}

/// Whether orphans of our descendants become children of this process.
#[cfg(target_os = "linux")]
fn are_ours() -> bool {
    std::process::id() == 1
        || rustix::process::child_subreaper().is_ok_and(|is_one| is_one.is_some())
}

/// Whether orphans of our descendants become children of this process.
#[cfg(not(target_os = "linux"))]
fn are_ours() -> bool {
    std::process::id() == 1
}
