//! A live tree on a terminal: a line for each server, and how many are done above them.

use std::time::Duration;

use console::{StyledObject, style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use moored_mcp::{Event, EventKind, ServerParams};

use super::View;
use super::log::{kind, line};
use crate::cli::render::words;

/// The tree. Drawn on stderr, and gone when it ends: the report takes its place.
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
/// The last of them is the one that stands still.
const SPINNER: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏·";

impl Live {
    /// Draws the tree with every server still to come.
    pub(crate) fn new(servers: &[ServerParams]) -> Self {
        let bars = MultiProgress::new();
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

    /// A handle for whoever has to write to the terminal meanwhile.
    pub(crate) fn bars(&self) -> MultiProgress {
        self.bars.clone()
    }
}

impl Branch {
    /// Something is still to come for this server.
    fn busy(&self, text: &str) {
        self.bar.set_style(template("{prefix} {spinner:.cyan} {wide_msg}"));
        self.bar.set_message(format!("{} {text}", self.title));
    }

    /// Nothing is to come for now.
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
            EventKind::Up(_) => {
                branch.settled(&style("✔").green(), &text);
                self.up += 1;
                self.head.inc(1);
            }
            EventKind::Failed { .. } => {
                branch.settled(&style("✘").red(), &text);
                self.head.inc(1);
            }
            EventKind::Lost { .. } => branch.settled(&style("✘").red(), &text),
            // A server that never came up has been counted, and its failure stays in sight.
            EventKind::Left(report) if words::is_up(report) => {
                let mark =
                    if report.leave.clean { style("✔").green() } else { style("!").yellow() };
                branch.settled(&mark, &text);
                self.leaving();
                self.head.inc(1);
            }
            EventKind::Leaving(_) => {
                branch.busy(&text);
                self.leaving();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        // What cannot be erased stays above the report, which is complete without it.
        let _still_there = self.bars.clear();
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
