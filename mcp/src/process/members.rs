//! Who is alive in a process group.

/// The living processes of the group `id`, zombies left out; `None` where that cannot be told.
#[cfg(target_os = "linux")]
pub(crate) fn of_group(id: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process that ends between the two reads is simply not there any more.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if let Some((state, group)) = state_and_group(&stat)
            && group == id
            && !matches!(state, 'Z' | 'X')
        {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Some(found)
}

/// Elsewhere `ps` is the one list of processes that needs no system call of its own.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of_group(id: i32) -> Option<Vec<i32>> {
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,pgid=,stat="]).output();
    let listed = listed.ok().filter(|listed| listed.status.success())?;
    Some(listed_in_group(&String::from_utf8_lossy(&listed.stdout), id))
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

/// The living members of the group `id` in a list of process id, group and state.
#[cfg(any(test, not(target_os = "linux")))]
fn listed_in_group(list: &str, id: i32) -> Vec<i32> {
    let member = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let pid = fields.next()?.parse().ok()?;
        let group: i32 = fields.next()?.parse().ok()?;
        (group == id && !fields.next()?.starts_with('Z')).then_some(pid)
    };
    let mut found: Vec<i32> = list.lines().filter_map(member).collect();
    found.sort_unstable();
    found
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
    fn zombies_and_other_groups_are_left_out_of_a_list() {
        let list = "  12  7 Ss\n    9 7 R+\n 13 7 Z\n 14 8 S\n";
        assert_eq!(listed_in_group(list, 7), [9, 12]);
    }
}
