//! The page `docs/mcp-faults.md`: a row for each fault, written from a run and checked against later runs.

use std::path::PathBuf;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::scene::Row;
use crate::{FAULTS, Fault};

/// A fault that was played on both kinds of runtime.
#[derive(Debug, Clone)]
pub(crate) struct Played {
    pub(crate) row: Row,
    /// On one thread, and on many.
    pub(crate) ms: [u128; 2],
}

/// A row as a line, from the process that has played it.
pub(crate) fn encode(played: &Played) -> String {
    let Played { row: Row { told, left, waived, panics }, ms } = played;
    json!({"told": told, "left": left, "waived": waived, "panics": panics, "ms": ms}).to_string()
}

pub(crate) fn decode(line: &str) -> Option<Played> {
    let value: Value = serde_json::from_str(line).ok()?;
    let texts = |key: &str| -> Option<Vec<String>> {
        let texts = value[key].as_array()?.iter();
        texts.map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let row = Row {
        told: texts("told")?,
        left: texts("left")?,
        waived: texts("waived")?,
        panics: usize::try_from(value["panics"].as_u64()?).ok()?,
    };
    let ms = |at: usize| value["ms"][at].as_u64().map(u128::from);
    Some(Played { row, ms: [ms(0)?, ms(1)?] })
}

/// A row of the page without its times.
fn line(fault: &Fault, row: &Row) -> String {
    let holds = match &row.waived[..] {
        [] => "all".to_owned(),
        waived => format!("all but: {}", waived.join("; ")),
    };
    let cell = |texts: &[String]| texts.join("<br>");
    format!("| {} | {} | {} | {holds} |", fault.words, cell(&row.told), cell(&row.left))
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/mcp-faults.md")
}

/// Expects the page to have this row, without regard to its times.
pub(crate) fn expect_row(fault: &Fault, played: &Played) -> Result<(), Failed> {
    let page = std::fs::read_to_string(path())?;
    let line = line(fault, &played.row);
    if page.lines().any(|row| row.starts_with(&line)) {
        return Ok(());
    }
    Err(format!("docs/mcp-faults.md has no such row; `bash ci/mcp-faults.sh` writes it\n{line}")
        .into())
}

/// Expects the page to have every fault once, in order, and nothing else.
pub(crate) fn expect_all() -> Result<(), Failed> {
    let page = std::fs::read_to_string(path())?;
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter_map(|row| row.split(" | ").next());
    let found: Vec<&str> = rows.filter(|words| *words != "fault").collect();
    let expected: Vec<&str> = FAULTS.iter().map(|fault| fault.words).collect();
    if found == expected {
        return Ok(());
    }
    Err(format!("the rows are {found:#?}, the faults {expected:#?}").into())
}

/// The whole page.
pub(crate) fn page(seen: &[(&Fault, Played)]) -> String {
    let mut page = String::from(HEAD);
    let mut room = "";
    for fault in FAULTS {
        if fault.room != room {
            room = fault.room;
            page.push_str(&format!("\n## {}\n\n{COLUMNS}", title(room)));
        }
        let played = seen.iter().find(|(seen, _)| std::ptr::eq(*seen, fault));
        let (_, played) = played.expect("every fault was played: run it without a filter");
        let [one, many] = played.ms;
        page.push_str(&format!("{} {one} | {many} |\n", line(fault, &played.row)));
    }
    page
}

fn title(room: &str) -> &'static str {
    match room {
        "connect" => "Connecting",
        "running" => "Connected",
        "leaving" => "Leaving",
        _ => "What servers in the field do",
    }
}

const COLUMNS: &str = "\
| fault | what the caller is told | how the servers at fault were left | invariants | ms, one thread | ms, many |
|---|---|---|---|--:|--:|
";

const HEAD: &str = "\
# The faults, and what comes of each

Written by `bash ci/mcp-faults.sh` from the fault suite (`mcp/tests/faults`); the suite fails where a row, its times aside, is not
what it sees. Each fault is played in a process of its own, between two healthy siblings, once on a runtime with one thread and
once with two workers; both have to tell the same.

**all** of these hold after a fault:

- *tasks*: no task of the runtime is alive;
- *processes*: this process has no child, not even a zombie, and nothing that it started runs anywhere;
- *descriptors*: no more are open than before;
- *log*: each session that a server handed out has got one DELETE, and nothing was posted after it;
- *budget*: leaving everything took no longer than its budget (2.5 s);
- *cause*: the error's `source()` chain and the report end with the same cause;
- *siblings*: both answer a call after the fault, and leave cleanly;
- *panics*: nothing has panicked that is not a part of the fault.

The graces are short: 400 ms for the end of input, 400 ms for SIGTERM. The times are of one run, twelve faults side by side.
Signals to the program (SIGINT, SIGTERM, SIGHUP, once and twice), process 1 of a container, and a reader of the report that goes away
are in `mcp/tests/doctor`; connecting, calling and closing that is cut at each of its awaits is in `mcp/tests/sessions/cut.rs`.
";
