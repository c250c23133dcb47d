//! The tables of `docs/mcp-comparison.md`.

use std::fmt::Write;
use std::path::Path;

use crate::contenders::Contender;
use crate::figures::Figures;
use crate::idle::{Idle, SESSIONS};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mcp-comparison.md");
/// The heading of these tables, which are the rest of the page.
const HEADING: &str = "## What a session costs without a fault\n";

/// The reasons for the ratios of leaving.
const LEAVING: &str = "\
Leaving alone costs more than `rmcp`'s `cancel`. Of the samples of `perf` in the leaving of 200 HTTP sessions that are in this crate, a third
are the DELETE itself, which `rmcp` sends as well; a sixth free the components, the names and the server's description, which a
group keeps for its users and the bench of `rmcp` does not keep; a twelfth watch for an order that shortens the budget; the others are
the exits, the report and `malloc`, with no single place. A child's process group is looked for in the process table before its leader is reaped: the
kernel counts a leader that is not reaped as a member of its group, and after the reaping the group's id may belong to another
program. One look does for all children that have ended by then.

";

/// The load of the machine over one, five and fifteen minutes.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
}

/// Replaces the tables of the page.
pub(crate) fn write(figures: &Figures, idle: &[Idle], load_before: &str) {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let before = page.split(HEADING).next().unwrap_or_default().trim_end();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "{before}\n\n{HEADING}\n\
        Written by `cargo bench -p moored-mcp --bench sessions -- --page`, on {processors} processors. The load of the machine \
        was {load_before} before the run and {} after it (averages over one, five and fifteen minutes).\n\n\
        Both contenders ask the same servers for the same in the same process, in alternation: the era probe, the \
        handshake, and the four lists of tools, prompts, resources and templates. `rmcp` has one shared HTTP client and one \
        task for each session, and asks for the lists side by side. *By hand* adds to `rmcp` what our leaving of a child does \
        beyond its own: a process group that is killed in the end, and the reading of standard error. *ms* are for all n sessions together, the median of the rounds with their \
        quartiles; *ratio* is the median of ours divided by theirs round by round, so that a busy moment of the machine is in \
        both; *processor* is the same ratio of the processor time of this process, HTTP servers included.\n\n\
        | question | n | moored-mcp, ms | rmcp, ms | ratio | processor |\n|---|--:|--:|--:|--:|--:|\n",
        load(),
    );
    figures.rows(&mut text);
    text.push('\n');
    for line in figures.added_lines() {
        let _ = writeln!(text, "{line}\n");
    }
    text.push_str(LEAVING);
    let _ = write!(
        text,
        "What one of {SESSIONS} idle sessions keeps, with the HTTP servers in another process. Tasks and memory of the \
        HTTP client are included.\n\n\
        | idle | client | memory, KiB | tasks | descriptors |\n|---|---|--:|--:|--:|\n"
    );
    for it in idle {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.2} | {:.2} |",
            it.fleet.servers(),
            it.contender.name(),
            it.bytes / 1024.0,
            it.tasks,
            it.descriptors
        );
    }
    text.push_str("\nWhat each contender does beside that:\n\n");
    for contender in [Contender::Ours, Contender::Rmcp, Contender::ByHand] {
        let _ = writeln!(text, "- {}: {}", contender.name(), contender.note());
    }
    std::fs::write(Path::new(PAGE), text).expect("the page is written");
}
