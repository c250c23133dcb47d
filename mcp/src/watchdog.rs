//! The program that outlives a client: it kills the children's process groups when the client is ended by SIGKILL.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, kill_process, kill_process_group, test_kill_process, test_kill_process_group,
};

/// A program that a group starts beside its first child. It kills the children's process groups if the group's own
/// process ends before it could leave them: by SIGKILL, by a crash, or by the kernel when memory is short.
///
/// A process that ends in that way runs no further code, so its children would live on. The watchdog reads the ids of
/// their process groups from a pipe whose other end only the group's process has. The pipe ends when that process ends.
/// Groups that have been left by then are not on the list any more. The other groups get SIGTERM and, half a second
/// later, SIGKILL. Of a server whose descendants are to be left ([`Descendants::Leave`](crate::Descendants::Leave)), only the
/// process that the group has started gets the signals.
///
/// Any program that calls [`Watchdog::run`] can be the watchdog, such as `moored-mcp watchdog`, or your own program in
/// a separate mode:
///
/// ```no_run
/// use moored_mcp::{GroupOptions, SessionGroup, Watchdog};
///
/// fn main() -> std::io::Result<()> {
///     if std::env::args().nth(1).as_deref() == Some("--watchdog") {
///         Watchdog::run();
///         return Ok(());
///     }
///     let watchdog = Watchdog::new(std::env::current_exe()?).arg("--watchdog");
///     let options = GroupOptions::default().watchdog(watchdog);
///     // In a runtime: SessionGroup::start(options)
/// #   let _ = (options, SessionGroup::start);
///     Ok(())
/// }
/// ```
///
/// # Limits
///
/// - A child is not known if this process ends between the child's start and the few instructions that put it on the
///   list.
/// - A process that left its group (`setsid`) is not in the list, as everywhere in this crate.
/// - An event that ends the watchdog together with its client, such as the end of a container, cannot be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchdog {
    program: PathBuf,
    args: Vec<OsString>,
}

/// The time that groups may take to end by themselves, because their input has ended with the client.
const END_OF_INPUT: Duration = Duration::from_millis(100);
/// The time that they may take after SIGTERM.
const TERMINATE: Duration = Duration::from_millis(400);
/// The interval between checks of the groups.
const PAUSE: Duration = Duration::from_millis(10);

impl Watchdog {
    /// The watchdog in the program `program`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new() }
    }

    /// Adds an argument for the program.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its arguments.
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// Runs as the watchdog: reads standard input to its end, then ends the process groups that are on the list. It
    /// needs no runtime, and returns when they have ended or were killed.
    pub fn run() {
        end(left(std::io::stdin().lock()));
    }
}

/// The target of the signals for one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The whole process group.
    Group(Pid),
    /// Its leader alone, because its descendants are to be left.
    Leader(Pid),
}

impl Target {
    fn signal(self, signal: Signal) -> rustix::io::Result<()> {
        match self {
            Self::Group(group) => kill_process_group(group, signal),
            Self::Leader(leader) => kill_process(leader, signal),
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::Group(group) => test_kill_process_group(group),
            Self::Leader(leader) => test_kill_process(leader),
        }
        .is_ok()
    }
}

/// Reads a list to its end: `+7` adds the process group 7, `=7` the process 7 alone, `-7` removes either. Other lines are
/// ignored.
fn left(list: impl Read) -> BTreeMap<i32, Target> {
    let mut targets = BTreeMap::new();
    // A pipe that cannot be read is at its end.
    for line in BufReader::new(list).lines().map_while(Result::ok) {
        let Some((sign, id)) = line.split_at_checked(1) else { continue };
        // 0 means this program's own group, and 1 all processes.
        let Some(id) = id.parse::<i32>().ok().filter(|id| *id > 1) else { continue };
        let Some(pid) = Pid::from_raw(id) else { continue };
        match sign {
            "+" => targets.insert(id, Target::Group(pid)),
            "=" => targets.insert(id, Target::Leader(pid)),
            "-" => targets.remove(&id),
            _ => continue,
        };
    }
    targets
}

/// Ends the targets: first they may end by themselves, then they get SIGTERM, then SIGKILL. A target that was seen to
/// be gone gets no further signal, because its id may belong to another one by then.
fn end(targets: BTreeMap<i32, Target>) {
    let mut targets: Vec<Target> = targets.into_values().collect();
    wait(&mut targets, END_OF_INPUT);
    signal(&targets, Signal::TERM);
    wait(&mut targets, TERMINATE);
    signal(&targets, Signal::KILL);
}

fn signal(targets: &[Target], signal: Signal) {
    for target in targets {
        // A failure is ignored, because the target may just have ended.
        let _gone = target.signal(signal);
    }
}

/// Waits until no target is left, but no longer than `limit`.
fn wait(targets: &mut Vec<Target>, limit: Duration) {
    let end = Instant::now() + limit;
    loop {
        targets.retain(|target| target.is_there());
        if targets.is_empty() || Instant::now() >= end {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_off_the_list_is_not_left() {
        let list = "+12\n+7\n-12\n=9\n=8\n-8\n";
        let pid = |id| Pid::from_raw(id).expect("an id");
        let expected = [(7, Target::Group(pid(7))), (9, Target::Leader(pid(9)))];
        assert_eq!(left(list.as_bytes()), BTreeMap::from(expected));
    }

    #[test]
    fn our_own_group_everybody_and_nonsense_are_never_on_the_list() {
        let list = "+0\n+1\n=0\n=1\n+-5\n+\n\n7\n\u{e9}7\n+99999999999\n+x\n";
        assert_eq!(left(list.as_bytes()), BTreeMap::new());
    }
}
