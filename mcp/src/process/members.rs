//! The living processes of process groups.

#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;

/// All processes by group, perhaps with processes that have ended and are not yet reaped.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Group and process, sorted.
    entries: Vec<(i32, i32)>,
}

impl Table {
    fn new(entries: impl Iterator<Item = (i32, i32)>) -> Self {
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable();
        Self { entries }
    }

    /// Whether the group `id` had another process than its leader, which has the same id.
    pub(crate) fn has_others(&self, id: i32) -> bool {
        self.members(id).any(|process| process != id)
    }

    /// The living members of the group `id` but its leader.
    pub(crate) fn others(&self, id: i32) -> Vec<i32> {
        let others = self.members(id).filter(|process| *process != id);
        others.filter(|process| is_alive_in(*process, id)).collect()
    }

    /// All processes of the group `id` but its leader, the dead included if the operating system lists
    /// them.
    pub(super) fn all_but_leader(&self, id: i32) -> Vec<i32> {
        self.members(id).filter(|process| *process != id).collect()
    }

    fn members(&self, id: i32) -> impl Iterator<Item = i32> {
        let begin = self.entries.partition_point(|(group, _)| *group < id);
        let members = self.entries[begin..].iter().take_while(move |(group, _)| *group == id);
        members.map(|(_, process)| *process)
    }
}

/// Reads the table; `None` if it cannot be read.
///
/// Only the group of each process is read, because the rest of `/proc/<pid>/stat` costs the kernel fifty times as much;
/// it is read for the few processes that matter.
#[cfg(target_os = "linux")]
pub(crate) fn table() -> Option<Table> {
    use nix::unistd::{Pid, getpgid};
    use rustix::fs::{Mode, OFlags, RawDir, open};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open("/proc", flags, Mode::empty()).ok()?;
    // Read without the two allocations for each process that `std::fs::read_dir` makes.
    let mut buffer = [MaybeUninit::uninit(); 8 * 1024];
    let mut names = RawDir::new(directory, &mut buffer);
    let mut processes = Vec::new();
    while let Some(entry) = names.next() {
        let Ok(process) = entry.ok()?.file_name().to_str().unwrap_or_default().parse() else {
            continue;
        };
        // A process that ends between the two looks is simply missing.
        if let Ok(group) = getpgid(Some(Pid::from_raw(process))) {
            processes.push((group.as_raw(), process));
        }
    }
    Some(Table::new(processes.into_iter()))
}

/// On other systems `ps` is the one list of processes that needs no system call of its own.
#[cfg(not(target_os = "linux"))]
pub(crate) fn table() -> Option<Table> {
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,pgid=,stat="]).output();
    let listed = listed.ok().filter(|listed| listed.status.success())?;
    Some(listed_alive(&String::from_utf8_lossy(&listed.stdout)))
}

/// Whether a process is alive and of this group: it may have ended, or its id may have belonged
/// to another process.
#[cfg(target_os = "linux")]
fn is_alive_in(process: i32, id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    let seen = stat.ok().and_then(|stat| state_and_group(&stat));
    seen.is_some_and(|(state, group)| group == id && !matches!(state, 'Z' | 'X'))
}

/// The list contains only living processes.
#[cfg(not(target_os = "linux"))]
fn is_alive_in(_process: i32, _id: i32) -> bool {
    true
}

/// The state and the process group of a line of `/proc/<pid>/stat`.
///
/// The second field is the program's name in parentheses and may itself hold spaces and parentheses, so the fields are
/// counted from the last one that closes.
#[cfg(target_os = "linux")]
fn state_and_group(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let _parent = fields.next()?;
    let group = fields.next()?.parse().ok()?;
    Some((state, group))
}

/// The living processes of a list of process id, group and state.
#[cfg(any(test, not(target_os = "linux")))]
fn listed_alive(list: &str) -> Table {
    let alive = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let process = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        (!fields.next()?.starts_with('Z')).then_some((group, process))
    };
    Table::new(list.lines().filter_map(alive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_programs_name_may_hold_parentheses_and_spaces() {
        assert_eq!(state_and_group("7 (a) b) (c)) S 1 42 42 0"), Some(('S', 42)));
        assert_eq!(state_and_group("7 (x) Z 1 9 9"), Some(('Z', 9)));
        assert_eq!(state_and_group("no such line"), None);
    }

    #[test]
    fn zombies_are_left_out_of_a_list() {
        let list = "  12  7 Ss\n    9 7 R+\n 13 7 Z\n 14 8 S\n";
        assert_eq!(listed_alive(list).entries, [(7, 9), (7, 12), (8, 14)]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_of_this_group_is_found_until_it_has_ended() {
        use std::process::{Command, Stdio};
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.expect("cat");
        let id = child.id().cast_signed();
        let there = || table().expect("a table").others(own).contains(&id);
        assert!(there());
        drop(child.stdin.take());
        // Ended, and not reaped before the second look.
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), ended).expect("its end");
        assert!(!there());
        child.wait().expect("reaped");
    }
}
