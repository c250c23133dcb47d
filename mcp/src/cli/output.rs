//! Writing to stdout and stderr without a panic.
//!
//! A reader that goes away (`moored-mcp doctor | head -1`) must not stop the clean-up, so no
//! function here panics on a closed pipe, as `println!` does. Any other failure to write to stdout, such as that of a full
//! disk, is kept until the end of the program.

use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use moored_mcp::ServerReport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::render::words;
use super::signals::{Caught, Signals};

/// The first failure to write to stdout.
static LOST: OnceLock<String> = OnceLock::new();

/// Writes `text` and a line break to stdout. A reader that is gone is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            LOST.get_or_init(|| error.to_string());
        }
        Ok(()) | Err(_) => {}
    }
}

/// The reason why a part of the output is missing, if one is and a reader may still want it.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Writes `text` and a line break to stderr, as it is.
pub(crate) fn lines(text: &str) {
    let _gone = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

/// Writes an error to stderr, in this program's name.
pub(crate) fn complain(text: &str) {
    let _gone = writeln!(std::io::stderr().lock(), "{}", signed(text));
}

/// Writes a line of a log to stderr. It is left out if the reader of stderr takes nothing at the moment, because a
/// program that runs for days, or has servers to leave, must not wait for a log that nobody reads.
pub(crate) fn log(text: &str) {
    if stderr_is_read() {
        complain(text);
    }
}

/// Whether stderr takes a line at the moment.
pub(crate) fn stderr_is_read() -> bool {
    !is_full(std::io::stderr())
}

/// Whether a pipe or socket has no room for a line.
fn is_full(fd: impl AsFd) -> bool {
    let mut looked_at = [PollFd::new(&fd, PollFlags::OUT)];
    poll(&mut looked_at, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
}

/// The time for which the last output of a program that was asked to end waits for its reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes the last output of a program, and waits for its reader for a short time only.
pub(crate) fn last(write: impl FnOnce() + Send + 'static) {
    let (done, written) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        write();
        let _ended = done.send(());
    });
    let _written_or_unread = written.recv_timeout(PATIENCE);
}

/// Does work that writes, in a thread of its own: a reader that takes nothing, such as a pager or a stopped terminal, stops
/// that thread only. `None` if the work panics.
pub(crate) async fn aside<T: Send + 'static>(
    write: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    // Not one of the runtime's, because a runtime waits for its threads before it ends.
    let (done, written) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(write()));
    written.await.ok()
}

/// Waits for the last output. If it is not taken, the next signal ends the wait, and so does a short time if a signal was
/// caught before.
///
/// # Errors
///
/// The signal that has asked this program to end.
pub(crate) async fn taken<T>(
    signals: &mut Signals,
    caught: Option<Caught>,
    output: impl Future<Output = T>,
) -> Result<T, Caught> {
    let patience = async {
        match caught {
            Some(caught) => {
                tokio::time::sleep(PATIENCE).await;
                caught
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        output = output => Ok(output),
        signal = signals.next() => Err(caught.unwrap_or(signal)),
        caught = patience => Err(caught),
    }
}

/// The text with this program's name before it, as all output on stderr. It may contain text of other
/// programs.
pub(crate) fn signed(text: &str) -> String {
    format!("moored-mcp: {}", words::plain(text))
}

/// Writes a warning to stderr.
pub(crate) fn warn(text: &str) {
    complain(&format!("warning: {text}"));
}

/// Writes the warnings of the servers.
pub(crate) fn warn_of(servers: &[ServerReport]) {
    for server in servers {
        for warning in &server.warnings {
            warn(&format!("server {:?}: {warning}", server.name));
        }
    }
}

/// The width of lines on stdout: that of the terminal, or `COLUMNS`, or 80.
pub(crate) fn width() -> usize {
    const USUAL: usize = 80;
    const NARROWEST: usize = 40;
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| columns.into());
    let columns = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    terminal.or_else(columns).filter(|width| *width > 0).unwrap_or(USUAL).max(NARROWEST)
}

/// The reader of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A program: one JSON object.
    Machine,
    /// A person at a terminal: a live view, then a tree.
    Terminal,
    /// A person who reads it later, from a pipe or a file: plain lines, then a table.
    Pipe,
}

impl Audience {
    /// Checks the kinds of the streams.
    pub(crate) fn find(json: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if json {
            Self::Machine
        } else if !dumb && std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            Self::Terminal
        } else {
            Self::Pipe
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_is_full_in_the_end() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        assert!(!is_full(&writer));
        let mut written = 0;
        while !is_full(&writer) {
            written += writer.write(&[b'x'; 1024]).expect("there is room");
        }
        assert!(written >= 4096, "{written}");
        drop(reader);
    }
}
