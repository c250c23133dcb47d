//! Plain lines, one for each event, for a pipe or a file.

use std::time::Instant;

use moored_mcp::{Event, EventKind, LeavePhase, ServerParams, TransportKind};

use super::View;
use crate::cli::duration::show_ms;
use crate::cli::output;
use crate::cli::render::fold::{columns, fold};
use crate::cli::render::words;

/// Prints each event with the time since the start.
#[derive(Debug)]
pub(crate) struct Log {
    start: Instant,
    /// The width of the longest name.
    names: usize,
    /// The width of a line.
    width: usize,
    /// Where the lines go.
    print: fn(&str),
    /// Whether somebody waits for the next event, and not for the report.
    watch: bool,
}

impl Log {
    /// A log that lines up the names of `servers` and writes with `print`.
    pub(crate) fn new(servers: &[ServerParams], print: fn(&str), watch: bool) -> Self {
        let names = servers.iter().map(|s| columns(&words::plain(&s.name))).max();
        let (start, width) = (Instant::now(), output::width());
        Self { start, names: names.unwrap_or(0), width, print, watch }
    }
}

impl View for Log {
    fn show(&mut self, event: &Event) {
        // The report has the warnings too, and a run that is not watched ends with it.
        if !self.watch && matches!(event.kind, EventKind::Warning { .. }) {
            return;
        }
        if let Some(text) = line(&event.kind) {
            let since = event.at.saturating_duration_since(self.start).as_millis();
            let since = u64::try_from(since).map_or_else(|_| "-".to_owned(), show_ms);
            let name = words::plain(&event.name);
            let padding = " ".repeat(self.names.saturating_sub(columns(&name)));
            let line = format!("{name}{padding}  {text}");
            // A continuation stands below the text, or a little to the right if names are long.
            let next = " ".repeat((10 + self.names + 2).min(self.width / 3));
            let lines = fold(&line, &format!("{since:>8}  "), &next, self.width);
            (self.print)(&lines.join("\n"));
        }
    }

    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// An event in one line; none for the beginning of an attempt, because all begin at once.
pub(crate) fn line(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::Up(info) => {
            let era = info.era.as_deref().map_or("no era".to_owned(), words::plain);
            let offers = words::offers(info.tools, info.prompts, info.resources);
            let mut text = format!("up, {era}: {offers}");
            if let [first, more @ ..] = &info.warnings[..] {
                text.push_str("; ");
                text.push_str(&words::short(first));
                if !more.is_empty() {
                    text.push_str(&format!("; {}", words::count(more.len(), "more warning")));
                }
            }
            text
        }
        EventKind::Failed { outcome, message } => {
            format!("{}: {}", words::outcome(*outcome), words::short(message))
        }
        EventKind::StartedAgain { message } => {
            format!("started again: {}", words::short(message))
        }
        EventKind::Restarting { message, after } => {
            let pause = show_ms(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            format!("started again in {pause}: {}", words::short(message))
        }
        EventKind::Draining => "draining: no new calls".to_owned(),
        EventKind::Lost { message } => format!("lost: {}", words::short(message)),
        EventKind::Leaving(phase) => phase_words(*phase).to_owned(),
        EventKind::ListChanged { kind, added, removed, altered } => {
            let counts =
                [(added.len(), "new"), (removed.len(), "gone"), (altered.len(), "changed")];
            let some: Vec<String> = counts
                .iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, how)| format!("{} {how}", words::count(*n, &kind.to_string())))
                .collect();
            if some.is_empty() {
                format!("list of {kind}s: another order")
            } else {
                some.join(", ")
            }
        }
        EventKind::ResourceUpdated { uri, .. } => {
            format!("resource changed: {}", words::short(uri))
        }
        EventKind::SubscriptionEnded { uri, message } => {
            format!("subscription to {} ended: {}", words::short(uri), words::short(message))
        }
        EventKind::Warning { message } => format!("warning: {}", words::short(message)),
        EventKind::Left(report)
            if words::was_up(report) || !words::nothing_to_leave(&report.leave) =>
        {
            let how = words::left(report.transport, &report.leave);
            format!("left in {}: {how}", show_ms(report.leave.ms))
        }
        _ => return None,
    })
}

/// The text for the current wait.
pub(crate) fn phase_words(phase: LeavePhase) -> &'static str {
    match phase {
        LeavePhase::Delete => "leaving: DELETE sent",
        LeavePhase::EndOfInput => "leaving: its input is closed",
        LeavePhase::Terminate => "leaving: SIGTERM sent",
        LeavePhase::Kill => "leaving: SIGKILL sent",
        _ => "leaving",
    }
}

/// The transport of the parameters.
pub(crate) fn kind(server: &ServerParams) -> TransportKind {
    match server.transport {
        moored_mcp::Transport::Http(_) => TransportKind::Http,
        moored_mcp::Transport::Stdio(_) => TransportKind::Stdio,
        moored_mcp::Transport::Adopted(_) => TransportKind::Adopted,
    }
}
