//! The running watchdog of a group, and the process groups on its list.
//!
//! # Invariants
//!
//! 1. A process group is on the list from its start until it has been swept, and is removed before its leader is
//!    reaped. So an id on the list never belongs to a foreign group.
//! 2. A watchdog that can no longer get changes of its list is killed, because its list would be wrong.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::Pid;

use super::ended::Ended;
use crate::policy::Descendants;
use crate::watchdog::Watchdog;

/// The time that a watchdog with an empty list may take to end.
const END: Duration = Duration::from_secs(1);

/// A running watchdog.
#[derive(Debug)]
pub(crate) struct Guard {
    ended: Ended,
    /// `None` once it has been ended.
    running: Mutex<Option<Running>>,
}

/// The process.
#[derive(Debug)]
struct Running {
    /// `None` once the list has been closed.
    list: Option<ChildStdin>,
    process: Child,
}

/// A process group that is on the list until this is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    guard: Arc<Guard>,
    group: Pid,
}

impl Guard {
    /// Starts the watchdog in its own process group, because a signal to our group must not end it.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    ///
    /// # Panics
    ///
    /// Outside of a runtime with an IO driver.
    pub(crate) fn start(watchdog: &Watchdog) -> io::Result<Self> {
        let mut process = Command::new(watchdog.program())
            .args(watchdog.args())
            .stdin(Stdio::piped())
            // Other programs may read our output to its end, so the watchdog must not hold it open.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The watchdog must not keep a file system from being unmounted either.
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        let list = process.stdin.take();
        let ended = Ended::of(Pid::from_child(&process));
        let running = Running { list, process };
        match &running.list {
            // A watchdog that does not read must not block us.
            Some(list) => rustix::io::ioctl_fionbio(list, true)?,
            None => return Err(io::Error::other("the watchdog came without a pipe")),
        }
        Ok(Self { ended, running: Mutex::new(Some(running)) })
    }

    /// Puts a process group on the list, or its leader alone if the descendants are to be left.
    ///
    /// # Errors
    ///
    /// If the watchdog has ended.
    pub(super) fn list(
        self: &Arc<Self>,
        group: Pid,
        descendants: Descendants,
    ) -> io::Result<Listed> {
        let sign = match descendants {
            Descendants::Kill => '+',
            Descendants::Leave => '=',
        };
        self.tell(sign, group)?;
        Ok(Listed { guard: self.clone(), group })
    }

    fn tell(&self, sign: char, group: Pid) -> io::Result<()> {
        let mut running = self.running.lock();
        let list = running.as_mut().and_then(|running| running.list.as_mut());
        let list = list.ok_or_else(|| io::Error::other("the watchdog has ended"))?;
        // The line is so short that a pipe takes it as a whole or not at all.
        let line = format!("{sign}{}\n", group.as_raw_nonzero());
        let told = list.write_all(line.as_bytes());
        if told.is_err() {
            // Invariant 2: killed before its list ends.
            if let Some(mut running) = running.take() {
                let _gone = running.process.kill();
            }
        }
        told
    }

    /// Ends the watchdog and waits for its end. Every process group has been taken off its list.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a thread waits instead.
    pub(crate) async fn end(&self) {
        let Some(mut running) = self.running.lock().take() else { return };
        running.list = None;
        let id = Pid::from_child(&running.process);
        let look = || super::observe(id).unwrap_or(Some(crate::report::ExitStatusReport::Code(-1)));
        if tokio::time::timeout(END, self.ended.seen(look)).await.is_err() {
            let _gone = running.process.kill();
        }
    }
}

impl Drop for Running {
    /// Closes the pipe, which ends the watchdog, and reaps it: at once if it has ended, otherwise in a thread, because
    /// a drop must not block.
    fn drop(&mut self) {
        self.list = None;
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        let id = Pid::from_child(&self.process);
        let reaper = std::thread::Builder::new().name("moored-mcp-reap".into());
        let spawned = reaper.spawn(move || {
            use rustix::process::{WaitId, WaitIdOptions, waitid};
            let _reaped =
                rustix::io::retry_on_intr(|| waitid(WaitId::Pid(id), WaitIdOptions::EXITED));
        });
        drop(spawned);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        // A failure is ignored, because a watchdog that cannot be told is killed, and has no list then.
        let _gone = self.guard.tell('-', self.group);
    }
}
