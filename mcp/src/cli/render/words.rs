//! The texts of the report: each fact is worded once, here, for the tree, the table and the lines.

use std::error::Error;

use crate::cli::duration::show_ms;
use moored_mcp::{
    Delete, ErrorReport, ExitStatusReport, LeaveReport, Outcome, ServerReport, TransportKind,
};

/// `1 tool`, `2 tools`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// `3 tools, 1 prompt, 1 resource`, without kinds of which there are none.
pub(crate) fn offers(tools: usize, prompts: usize, resources: usize) -> String {
    let kinds = [(tools, "tool"), (prompts, "prompt"), (resources, "resource")];
    let some: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
    if some.is_empty() { "offers nothing".to_owned() } else { some.join(", ") }
}

/// The transport's name.
pub(crate) fn transport(kind: TransportKind) -> &'static str {
    match kind {
        TransportKind::Http => "http",
        TransportKind::Stdio => "stdio",
        TransportKind::Adopted => "adopted",
    }
}

/// The outcome of the attempt to connect, in a word or two.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "up",
        Outcome::Unreachable => "unreachable",
        Outcome::AuthRequired => "auth required",
        Outcome::Forbidden => "forbidden",
        Outcome::TimedOut => "timed out",
        Outcome::Exited => "exited",
        Outcome::SpawnFailed => "not started",
        Outcome::ProtocolError => "protocol error",
        Outcome::UpstreamError => "upstream error",
        Outcome::DuplicateName => "duplicate name",
        Outcome::Closing => "interrupted",
        _ => "failed",
    }
}

/// Whether the server came up, with every list it announced, and stayed.
pub(crate) fn is_up(server: &ServerReport) -> bool {
    server.outcome == Outcome::Ok
}

/// Whether the server was connected at some time.
pub(crate) fn was_up(server: &ServerReport) -> bool {
    server.era.is_some()
}

/// The depth to which a chain of causes is indented; deeper causes stand below one another.
pub(crate) const DEEPEST: usize = 8;

/// The number of warnings of one server that are shown to a person.
const WARNINGS: usize = 10;

/// The warnings of a server, as many as a person reads.
pub(crate) fn warnings(warnings: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = warnings.iter().take(WARNINGS).map(|text| plain(text)).collect();
    match warnings.len().saturating_sub(WARNINGS) {
        0 => {}
        more => shown.push(format!("and {} more", count(more, "warning"))),
    }
    shown
}

/// The innermost cause, with the exit status if there is one.
pub(crate) fn cause(error: &ErrorReport) -> String {
    let innermost = error.chain.last().unwrap_or(&error.message);
    let mut cause = plain(innermost);
    if let Some(status) = error.exit_status.map(ended)
        && !cause.contains(&status)
    {
        cause.push_str(&format!(" ({status})"));
    }
    cause
}

/// One server's failure in one line.
pub(crate) fn failure(server: &str, outcome_: Outcome, error: &ErrorReport) -> String {
    format!("server {server:?}: {}: {}", outcome(outcome_), cause(error))
}

/// The number of lines that are shown of a child's last output.
const TAIL_LINES: usize = 5;

/// The last lines of a child's output, made harmless, and before them the line that names an error, because a stack
/// trace often stands between the two.
pub(crate) fn tail(error: &ErrorReport) -> Vec<String> {
    let said = error.stderr_tail.as_deref().unwrap_or_default();
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    let error = error.stderr_error.as_deref().filter(|line| !last.contains(line));
    error.into_iter().chain(last.iter().copied()).map(plain).collect()
}

/// An error and its causes, outermost first, without repeated neighbours.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut said = plain(&error.to_string());
    let mut last = said.clone();
    let mut inner = error.source();
    while let Some(error) = inner {
        let text = plain(&error.to_string());
        // An outer error often ends with the text of the inner one.
        if !last.ends_with(&text) {
            said.push_str(": ");
            said.push_str(&text);
            last = text;
        }
        inner = error.source();
    }
    said
}

/// The end of a process. The number behind the name of a signal is for people who look it up in a log.
pub(crate) fn ended(status: ExitStatusReport) -> String {
    let status = status.to_string();
    status.split_once(" (").map_or(&*status, |(name, _)| name).to_owned()
}

/// The outcome of the DELETE; `None` if there was no session to end.
pub(crate) fn delete(delete: Delete) -> Option<&'static str> {
    match delete {
        Delete::Terminated => Some("DELETE ended the session"),
        Delete::NotSupported => Some("DELETE not supported"),
        Delete::AlreadyGone => Some("session already gone"),
        Delete::TimedOut => Some("DELETE not answered"),
        Delete::Failed => Some("DELETE failed"),
        Delete::NotSent => Some("DELETE not sent"),
        Delete::NotApplicable => None,
    }
}

/// The peculiarities of a server's start; `None` if there are none.
pub(crate) fn started(server: &ServerReport) -> Option<String> {
    // A wait that a person does not notice is left out.
    let waited = (server.waited_ms >= 100)
        .then(|| format!("waited {} for its turn to be started", show_ms(server.waited_ms)));
    // The reason for each further start is among the warnings and events.
    let again = (server.starts > 1).then(|| format!("started {} times", server.starts));
    let all: Vec<_> = waited.into_iter().chain(again).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// The steps in which the server was left.
pub(crate) fn left(kind: TransportKind, leave: &LeaveReport) -> String {
    let mut steps: Vec<String> = delete(leave.delete).map(str::to_owned).into_iter().collect();
    steps.extend(leave.signals.iter().cloned());
    if let Some(status) = leave.exit_status {
        // Without a signal of ours, the end of its input was enough for the child.
        steps.push(ended(status));
    }
    if steps.is_empty() {
        steps.push(
            match kind {
                TransportKind::Http => "no session to end",
                TransportKind::Stdio => "no process to end",
                TransportKind::Adopted => "not ours to end",
            }
            .to_owned(),
        );
    }
    steps.join(", ")
}

/// The reasons why a leave was not clean; empty if it was.
pub(crate) fn verdict(leave: &LeaveReport) -> Vec<String> {
    let mut reasons = Vec::new();
    match leave.delete {
        Delete::TimedOut => reasons.push("its DELETE was not answered in time".to_owned()),
        Delete::Failed => reasons.push("its DELETE failed".to_owned()),
        Delete::NotSent => reasons.push("its DELETE was not sent".to_owned()),
        _ => {}
    }
    if sent(leave, "SIGKILL") {
        reasons.push("it had to be killed".to_owned());
    }
    reasons.extend(remarks(leave));
    if reasons.is_empty() && !leave.clean {
        reasons.push("it was not left cleanly".to_owned());
    }
    reasons
}

/// The part of the verdict that [`left`] does not contain already.
pub(crate) fn remarks(leave: &LeaveReport) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(status @ ExitStatusReport::Signal(signal)) = leave.exit_status
        && !(signal == 15 && sent(leave, "SIGTERM"))
        && !sent(leave, "SIGKILL")
    {
        remarks.push(format!("{}, which was not ours", ended(status)));
    }
    if !leave.survivors.is_empty() {
        let pids: Vec<String> = leave.survivors.iter().map(i32::to_string).collect();
        let processes = if pids.len() == 1 { "process" } else { "processes" };
        remarks.push(format!("it left {processes} {} running", pids.join(", ")));
    }
    remarks.extend(leave.suppressed.iter().map(|fault| plain(fault)));
    remarks
}

fn sent(leave: &LeaveReport, signal: &str) -> bool {
    leave.signals.iter().any(|s| s == signal)
}

/// Whether there was nothing to leave: no session, and no process.
pub(crate) fn nothing_to_leave(leave: &LeaveReport) -> bool {
    leave.delete == Delete::NotApplicable
        && leave.exit_status.is_none()
        && leave.signals.is_empty()
        && leave.clean
}

/// All faults of a server: its failure, then its leaving.
pub(crate) fn faults(server: &ServerReport) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_up(server) {
        let what = outcome(server.outcome);
        faults.push(match &server.error {
            Some(error) => format!("{what}: {}", short(&cause(error))),
            None => what.to_owned(),
        });
    }
    faults.extend(verdict(&server.leave));
    faults
}

/// The part of a text that fits a line; the whole text stands in the chain.
pub(crate) fn short(text: &str) -> String {
    const FITS: usize = 160;
    let text = plain(text);
    match text.char_indices().nth(FITS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Foreign text, made harmless: a character that could move a cursor or clear a screen is shown as
/// a replacement character, and line breaks as spaces.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() => '\u{fffd}',
            // These turn the direction of the text after them.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                '\u{fffd}'
            }
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(short("a\nb"), "a b");
        let long = short(&"é".repeat(500));
        assert_eq!(long, format!("{}…", "é".repeat(160)));
    }

    #[test]
    fn foreign_text_moves_no_cursor_and_turns_no_text_around() {
        assert_eq!(
            plain("a\u{1b}[2J\u{202e}b\u{2066}\u{200f}\r"),
            "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(plain("a\nb\u{2028}c\td"), "a b c d");
        assert_eq!(plain("\u{5e9}\u{5dc} \u{fc} \u{1f600}"), "\u{5e9}\u{5dc} \u{fc} \u{1f600}");
    }

    #[test]
    fn what_is_not_there_is_not_counted() {
        assert_eq!(offers(2, 1, 0), "2 tools, 1 prompt");
        assert_eq!(offers(0, 0, 0), "offers nothing");
    }

    #[test]
    fn every_reason_of_an_unclean_leave_is_named() {
        let mut leave = LeaveReport::nothing();
        assert_eq!(verdict(&leave), Vec::<String>::new());
        leave.signals = vec!["SIGTERM".into()];
        leave.exit_status = Some(ExitStatusReport::Signal(15));
        assert_eq!(verdict(&leave), Vec::<String>::new(), "SIGTERM alone is clean");
        leave.exit_status = Some(ExitStatusReport::Signal(11));
        assert_eq!(verdict(&leave), ["ended by SIGSEGV, which was not ours"]);
        leave.signals.push("SIGKILL".into());
        leave.survivors = vec![7, 8];
        leave.suppressed = vec!["a\u{1b}[2J fault".into()];
        leave.delete = Delete::TimedOut;
        assert_eq!(
            verdict(&leave),
            [
                "its DELETE was not answered in time",
                "it had to be killed",
                "it left processes 7, 8 running",
                "a\u{fffd}[2J fault",
            ]
        );
    }

    #[test]
    fn a_wait_for_the_turn_and_a_second_start_are_told() {
        let mut server = sample::report().servers.remove(0);
        assert_eq!(started(&server), None);
        server.waited_ms = 3_140;
        server.starts = 2;
        assert_eq!(
            started(&server).as_deref(),
            Some("waited 3.1 s for its turn to be started, started 2 times")
        );
    }

    #[test]
    fn the_verdict_agrees_with_the_report() {
        for server in sample::report().servers {
            assert_eq!(server.leave.judge(), server.leave.clean, "{}", server.name);
            assert_eq!(verdict(&server.leave).is_empty(), server.leave.clean, "{}", server.name);
        }
    }

    #[test]
    fn the_cause_is_the_innermost_and_names_the_exit_status() {
        let report = sample::report();
        let causes: Vec<String> =
            report.servers.iter().filter_map(|s| s.error.as_ref()).map(cause).collect();
        assert_eq!(
            causes,
            ["Connection refused (os error 111)", "the server is gone (exit status 7)"]
        );
    }
}
