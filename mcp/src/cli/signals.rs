//! The signals that ask this program to end.
//!
//! A child of ours is in a process group of its own, so neither the terminal's Ctrl-C nor the
//! hang-up of a closed terminal reaches it: only this program can end it.

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
    /// 128 plus the signal's number, as a shell reports it.
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

/// Catches the signals from its creation on, so it has to be created before any server is
/// started.
#[derive(Debug)]
pub(crate) struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to catch signals.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a handler.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    ///
    /// A signal that arrives between two calls is kept for the next call; several signals of one
    /// kind that arrive between calls count as one.
    pub(crate) async fn next(&mut self) -> Caught {
        tokio::select! {
            Some(()) = self.hang_up.recv() => Caught::HangUp,
            Some(()) = self.interrupt.recv() => Caught::Interrupt,
            Some(()) = self.terminate.recv() => Caught::Terminate,
            // The streams end only with the runtime, and then this is not polled.
            else => std::future::pending().await,
        }
    }
}
