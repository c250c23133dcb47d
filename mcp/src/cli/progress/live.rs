//! A live tree on a terminal: a line for each server, and above them the number of servers that
//! are done.

use std::time::Duration;

use console::{StyledObject, style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use moored_mcp::{Event, EventKind, ServerParams};

use super::View;
use super::log::{kind, line};
use crate::cli::render::words;

/// The tree. It is drawn on stderr, and removed at its end, because the report replaces it.
#[derive(Debug)]
pub(crate) struct Live {
    bars: MultiProgress,
    head: ProgressBar,
    branches: Vec<Branch>,
    up: u64,
    leaving: bool,
}

/// One server's line.
#[derive(Debug)]
struct Branch {
    bar: ProgressBar,
    title: String,
}

const TICK: Duration = Duration::from_millis(100);
/// The last picture is the one that stands still.
const SPINNER: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏·";

impl Live {
    /// Draws the tree on `bars`, with every server still waiting.
    pub(crate) fn new(servers: &[ServerParams], bars: MultiProgress) -> Self {
        let total = u64::try_from(servers.len()).unwrap_or(u64::MAX);
        let head = bars.add(ProgressBar::new(total));
        head.set_style(template("{msg:10} {bar:24.cyan/dim} {pos}/{len}  {elapsed:.dim}"));
        head.set_message("connecting");
        let width = servers.iter().map(|s| words::plain(&s.name).chars().count()).max();
        let width = width.unwrap_or(0);
        let last = servers.len().saturating_sub(1);
        let branches = servers.iter().enumerate().map(|(at, server)| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(template("{prefix} {spinner:.cyan} {wide_msg}"));
            bar.set_prefix(if at == last { "└─" } else { "├─" });
            let name = format!("{:width$}", words::plain(&server.name));
            let transport = format!("{:5}", words::transport(kind(server)));
            let title = format!("{} {}", style(name).bold(), style(transport).dim());
            bar.set_message(title.clone());
            bar.enable_steady_tick(TICK);
            Branch { bar, title }
        });
        let branches = branches.collect();
        head.enable_steady_tick(TICK);
        Self { bars, head, branches, up: 0, leaving: false }
    }
}

impl Branch {
    /// Marks that further events are expected for this server.
    fn busy(&self, text: &str) {
        self.bar.set_style(template("{prefix} {spinner:.cyan} {wide_msg}"));
        self.bar.set_message(format!("{} {text}", self.title));
    }

    /// Marks that no event is expected for now.
    fn settled(&self, mark: &StyledObject<&str>, text: &str) {
        self.bar.set_style(template("{prefix} {wide_msg}"));
        self.bar.set_message(format!("{mark} {} {text}", self.title));
    }
}

impl View for Live {
    fn show(&mut self, event: &Event) {
        let Some(branch) = self.branches.get(event.index) else { return };
        let Some(text) = line(&event.kind) else { return };
        match &event.kind {
            EventKind::Up(info) => {
                let well = info.warnings.is_empty();
                let mark = if well { style("✔").green() } else { style("!").yellow() };
                branch.settled(&mark, &text);
                self.up += 1;
                self.head.inc(1);
            }
            EventKind::Failed { .. } => {
                branch.settled(&style("✘").red(), &text);
                self.head.inc(1);
            }
            EventKind::Lost { .. } => branch.settled(&style("✘").red(), &text),
            // A server that never came up has been counted, and its failure stays visible.
            EventKind::Left(report) if words::was_up(report) => {
                let mark =
                    if report.leave.clean { style("✔").green() } else { style("!").yellow() };
                branch.settled(&mark, &text);
                self.leaving();
                self.head.inc(1);
            }
            EventKind::ListChanged { .. }
            | EventKind::ResourceUpdated { .. }
            | EventKind::SubscriptionEnded { .. } => branch.settled(&style("✔").green(), &text),
            EventKind::StartedAgain { .. } | EventKind::Restarting { .. } | EventKind::Draining => {
                branch.busy(&text)
            }
            EventKind::Leaving(_) => {
                branch.busy(&text);
                self.leaving();
            }
            _ => {}
        }
    }

    fn end(&mut self) -> Result<(), String> {
        // A line that cannot be erased stays above the report, which is complete without it.
        let _still_there = self.bars.clear();
        Ok(())
    }
}

impl Live {
    /// The head counts again: of the servers that came up, those that were left.
    fn leaving(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.head.set_message("leaving");
            self.head.set_position(0);
            self.head.set_length(self.up);
        }
    }
}

/// A style of this file. The templates are constants; a wrong one falls back to indicatif's own.
fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars(SPINNER)
        .progress_chars("━━╌")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use indicatif::{InMemoryTerm, ProgressDrawTarget};
    use moored_mcp::{HttpParams, LeavePhase, Outcome, StdioParams};

    use super::*;
    use crate::cli::render::sample;

    /// A live tree of two servers, and the content of the terminal when it is drawn now.
    struct Screen {
        live: Live,
        terminal: InMemoryTerm,
    }

    impl Screen {
        fn new() -> Self {
            console::set_colors_enabled(false);
            let terminal = InMemoryTerm::new(12, 100);
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
            let servers = [
                ServerParams::http("web", HttpParams::new("http://127.0.0.1:9/")),
                ServerParams::stdio("files", StdioParams::new("serve")),
            ];
            let live = Live::new(&servers, MultiProgress::with_draw_target(target));
            Self { live, terminal }
        }

        fn show(&mut self, index: usize, kind: EventKind) {
            self.live.show(&Event { index, name: "any".into(), at: Instant::now(), kind });
        }

        /// Each line without the spinner's picture and the elapsed time, which change by themselves.
        fn lines(&self) -> Vec<String> {
            for branch in &self.live.branches {
                branch.bar.force_draw();
            }
            self.live.head.force_draw();
            let shown = self.terminal.contents();
            shown.lines().map(|line| line.replace(|c| SPINNER.contains(c), "*")).collect()
        }
    }

    fn up() -> EventKind {
        EventKind::Up(Box::new(moored_mcp::SessionInfo {
            name: "files".into(),
            transport: moored_mcp::TransportKind::Stdio,
            era: Some("2026-07-28".into()),
            connect_ms: 3,
            tools: 2,
            prompts: 0,
            resources: 0,
            warnings: Vec::new(),
            list_error: None,
        }))
    }

    #[test]
    fn every_server_has_a_line_from_the_beginning_to_its_end() {
        let mut screen = Screen::new();
        let lines = screen.lines();
        assert!(lines[0].starts_with("connecting "), "{lines:#?}");
        assert!(lines[0].contains(" 0/2 "), "{lines:#?}");
        assert_eq!(&lines[1..], ["├─ * web   http ", "└─ * files stdio"].map(str::trim_end));

        let message = "cannot reach it: Connection refused (os error 111)".to_owned();
        screen.show(0, EventKind::Failed { outcome: Outcome::Unreachable, message });
        screen.show(1, up());
        let lines = screen.lines();
        assert!(lines[0].contains(" 2/2 "), "{lines:#?}");
        assert_eq!(
            &lines[1..],
            [
                "├─ ✘ web   http  unreachable: cannot reach it: Connection refused (os error 111)",
                "└─ ✔ files stdio up, 2026-07-28: 2 tools",
            ]
        );

        screen.show(1, EventKind::Leaving(LeavePhase::Terminate));
        let lines = screen.lines();
        assert!(lines[0].starts_with("leaving ") && lines[0].contains(" 0/1 "), "{lines:#?}");
        assert_eq!(lines[2], "└─ * files stdio leaving: SIGTERM sent");

        let mule = sample::report().servers.pop().expect("the sample has servers");
        screen.show(1, EventKind::Left(Box::new(mule)));
        let lines = screen.lines();
        assert!(lines[0].contains(" 1/1 "), "{lines:#?}");
        assert_eq!(lines[2], "└─ ! files stdio left in 4.0 s: SIGTERM, SIGKILL, ended by SIGKILL");

        screen.live.end().expect("it has no output of its own");
        assert_eq!(screen.terminal.contents(), "", "the report takes its place");
    }

    #[test]
    fn an_event_of_a_server_that_was_not_announced_is_no_crash() {
        let mut screen = Screen::new();
        screen.show(7, up());
        assert_eq!(screen.lines().len(), 3);
    }
}
