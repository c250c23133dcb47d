//! A child process and its process group, owned: spawned, observed, swept, and only then reaped.
//!
//! # Invariants
//!
//! 1. The leader is not reaped before its group was swept. An unreaped leader keeps its process id taken, and with it
//!    the id of the group, so a signal to the group can never reach a foreign process.
//! 2. After the leader has been reaped, no more signals are sent.
//! 3. If this process adopts orphans (it is process 1 of a container, or a subreaper), the dead of the group are reaped
//!    one by one before its leader, because the kernel gives them to this process, and no other process reaps them.
//! 4. If there is a watchdog, the group is on its list from its start until its leader is about to be reaped (see
//!    `guard`).
//! 5. A group that is dropped before it was reaped is killed, and a thread reaps it: no orphan, no zombie.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::params::StdioParams;
use crate::policy::Descendants;
use crate::report::ExitStatusReport;

mod ended;
pub(crate) mod guard;
pub(crate) mod members;
mod orphans;
pub(crate) mod shared_table;
mod statuses;
pub(crate) mod teardown;
pub(crate) mod unread;

use self::ended::Ended;
use self::guard::{Guard, Listed};
use self::shared_table::{Announced, SharedTable};
use self::unread::Unread;

/// A child that leads a process group of its own.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    /// The leader's process id, which is the group's.
    leader: Pid,
    descendants: Descendants,
    ended: Ended,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once a reaping thread has taken the child over.
    child: Option<Child>,
    status: Option<ExitStatusReport>,
    reaped: bool,
    /// Its place on the list of the watchdog, until it is reaped.
    listed: Option<Listed>,
}

/// Variables of our own environment that a child gets.
pub(crate) type Inherited = [(OsString, OsString)];

/// The variables of our own environment that a child may get.
pub(crate) fn inherited() -> Box<Inherited> {
    let is_inherited =
        |(name, _): &(OsString, _)| name.to_str().is_some_and(StdioParams::inherited);
    std::env::vars_os().filter(is_inherited).collect()
}

/// The three standard streams of a new child, as pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: tokio::net::unix::pipe::Sender,
    pub(crate) stdout: tokio::process::ChildStdout,
    pub(crate) stderr: tokio::process::ChildStderr,
    pub(crate) unread: Unread,
}

impl ProcessGroup {
    /// Starts the program as the leader of a new group, with the variables `inherited` and its own.
    ///
    /// # Errors
    ///
    /// The error of the operating system: no such program, not executable, no descriptors left.
    pub(crate) fn spawn(params: &StdioParams, inherited: &Inherited) -> io::Result<(Self, Pipes)> {
        let mut command = Command::new(&params.command);
        command
            .args(&params.args)
            .env_clear()
            .envs(inherited.iter().map(|(name, value)| (name, value)))
            .envs(&params.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(cwd) = &params.cwd {
            command.current_dir(cwd);
        }
        statuses::keep();
        let mut child = command.spawn()?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let leader = Pid::from_child(&child);
        // From here on the group is owned: if a later step fails, its drop kills and reaps.
        let mut group = Self {
            leader,
            descendants: params.descendants,
            ended: Ended::default(),
            state: Mutex::new(State {
                child: Some(child),
                status: None,
                reaped: false,
                listed: None,
            }),
        };
        group.ended = Ended::of(leader);
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
            return Err(io::Error::other("the child came without pipes"));
        };
        let pipes = Pipes {
            unread: Unread::of(&stdin),
            stdin: tokio::net::unix::pipe::Sender::from_owned_fd(stdin.into())?,
            stdout: tokio::process::ChildStdout::from_std(stdout)?,
            stderr: tokio::process::ChildStderr::from_std(stderr)?,
        };
        Ok((group, pipes))
    }

    /// Puts the group on the list of a watchdog.
    ///
    /// # Errors
    ///
    /// If the watchdog has ended.
    pub(crate) fn guard(&self, guard: &Arc<Guard>) -> io::Result<()> {
        let listed = guard.list(self.leader, self.descendants)?;
        self.state.lock().listed = Some(listed);
        Ok(())
    }

    /// The leader's process id.
    pub(crate) fn id(&self) -> i32 {
        self.leader.as_raw_nonzero().get()
    }

    /// The end of the leader, if it has ended; it stays unreaped.
    pub(crate) fn status(&self) -> Option<ExitStatusReport> {
        let mut state = self.state.lock();
        if state.status.is_none() {
            match observe(self.leader) {
                Ok(status) => state.status = status,
                // Other code in this program has waited for every child. The status is lost, and the id may belong to
                // another process by now (invariant 2).
                Err(_) => {
                    state.status = Some(ExitStatusReport::Code(-1));
                    state.reaped = true;
                    state.listed = None;
                }
            }
        }
        state.status
    }

    /// Ready when the leader has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the leader is not reaped, and the next call sees the same.
    pub(crate) async fn exited(&self) -> ExitStatusReport {
        self.ended.seen(|| self.status()).await
    }

    /// Whether the leader has ended and no other process of its group is alive. If the operating system does not
    /// report processes, none is alive. Descendants that are to be left do not count. `announced` is the announcement
    /// of this call to `processes`.
    pub(crate) async fn is_empty(
        &self,
        processes: &SharedTable,
        announced: Option<Announced<'_>>,
    ) -> bool {
        if self.status().is_none() {
            return false;
        }
        if self.state.lock().reaped || self.descendants == Descendants::Leave {
            return true;
        }
        match processes.read(announced).await {
            // A process in the table may be about to exit or may have left a child behind, so a look of its
            // own is needed.
            Some(table) if table.has_others(self.id()) => {
                self.members().is_none_or(|members| members.is_empty())
            }
            _ => true,
        }
    }

    /// The processes of the group that are alive; `None` if the operating system does not report
    /// them.
    ///
    /// Empty after reaping, because from then on the id may belong to another process
    /// (invariant 2).
    pub(crate) fn members(&self) -> Option<Vec<i32>> {
        let state = self.state.lock();
        if state.reaped { Some(Vec::new()) } else { self.alive(&state) }
    }

    /// The living processes of the group, read here and now. The leader counts until it was seen to have ended.
    fn alive(&self, state: &State) -> Option<Vec<i32>> {
        let mut alive = members::table()?.others(self.id());
        if state.status.is_none() {
            alive.insert(0, self.id());
        }
        Some(alive)
    }

    /// Sends a signal to the whole group, or to its leader alone if the descendants are to be left; returns whether there
    /// was a process to get it.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let leader_alive = self.status().is_none();
        let state = self.state.lock();
        if state.reaped {
            return false;
        }
        if self.descendants == Descendants::Leave {
            return leader_alive && rustix::process::kill_process(self.leader, signal).is_ok();
        }
        // The kernel counts the zombie of a leader as a member, so its answer alone would claim that a signal
        // reached a process.
        let found = leader_alive || self.alive(&state).is_none_or(|members| !members.is_empty());
        found && rustix::process::kill_process_group(self.leader, signal).is_ok()
    }

    /// Reaps the leader if it has ended; returns whether it is reaped now.
    pub(crate) fn reap(&self) -> bool {
        let _ = self.status();
        let mut state = self.state.lock();
        if state.reaped {
            return true;
        }
        if state.status.is_none() {
            return false;
        }
        orphans::reap(self.leader);
        state.listed = None;
        // It has ended, so this wait does not block.
        if let Some(mut child) = state.child.take() {
            let _ = child.wait();
        }
        state.reaped = true;
        true
    }

    /// The policy for the processes that the leader has started.
    pub(crate) fn descendants(&self) -> Descendants {
        self.descendants
    }

    /// Reaps a leader that has ended and whose group has no other process.
    fn reap_if_alone(&self) -> bool {
        if self.state.lock().reaped {
            return true;
        }
        if self.status().is_some() && self.members().is_some_and(|members| members.is_empty()) {
            return self.reap();
        }
        false
    }
}

impl Drop for ProcessGroup {
    /// Kills the remaining processes and hands the reaping to a thread, because a drop must neither block
    /// nor need a runtime.
    fn drop(&mut self) {
        if self.reap_if_alone() {
            return;
        }
        tracing::warn!(
            leader = self.id(),
            "a child process was dropped before it was left; its group is killed"
        );
        self.signal(Signal::KILL);
        let state = self.state.get_mut();
        state.listed = None;
        if let Some(mut child) = state.child.take() {
            let (leader, descendants) = (self.leader, self.descendants);
            let spawned =
                std::thread::Builder::new().name("moored-mcp-reap".into()).spawn(move || {
                    if descendants == Descendants::Kill {
                        orphans::reap_all(leader);
                    }
                    let _ = child.wait();
                });
            drop(spawned);
        }
    }
}

/// Looks at a child without reaping it.
fn observe(leader: Pid) -> rustix::io::Result<Option<ExitStatusReport>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let looked =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(leader), options))?;
    Ok(looked.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(ExitStatusReport::Code(code)),
        (None, Some(signal)) => Some(ExitStatusReport::Signal(signal)),
        (None, None) => None,
    }))
}
