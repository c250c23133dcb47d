//! The signals that ask this program to end.
//!
//! A child of ours is in a process group of its own, so the terminal's Ctrl-C does not reach it, and
//! neither does the hang-up of a closed terminal: it is left by us or not at all.

use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// SIGHUP: the terminal was closed.
    HangUp,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Caught {
    /// 128 and the signal's number, as a shell says it.
    pub(crate) fn status(self) -> ExitCode {
        ExitCode::from(match self {
            Caught::HangUp => 129,
            Caught::Interrupt => 130,
            Caught::Terminate => 143,
        })
    }

    /// The signal's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Caught::HangUp => "SIGHUP",
            Caught::Interrupt => "SIGINT",
            Caught::Terminate => "SIGTERM",
        }
    }
}

/// Catches the signals from the moment it exists, so it has to exist before anything is started.
#[derive(Debug)]
pub(crate) struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to catch.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a handler.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    ///
    /// A signal that arrives while nobody waits is kept for the next call; several of one kind that
    /// arrive unobserved count as one.
    pub(crate) async fn next(&mut self) -> Caught {
        tokio::select! {
            Some(()) = self.hang_up.recv() => Caught::HangUp,
            Some(()) = self.interrupt.recv() => Caught::Interrupt,
            Some(()) = self.terminate.recv() => Caught::Terminate,
            // The streams end only with the runtime, and then nobody polls this.
            else => std::future::pending().await,
        }
    }
}
