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

/// Elsewhere the system has no such list that safe code could read.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of_group(_id: i32) -> Option<Vec<i32>> {
    None
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_hold_parentheses_and_spaces() {
        assert_eq!(state_and_group("7 (a) b) (c)) S 1 42 42 0"), Some(('S', 42)));
        assert_eq!(state_and_group("7 (x) Z 1 9 9"), Some(('Z', 9)));
        assert_eq!(state_and_group("no such line"), None);
    }
}
