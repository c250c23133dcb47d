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
Leaving alone costs more than `rmcp`'s `cancel`. `perf` sampled the processor 5,000 times a second in 22 rounds of leaving 50 HTTP sessions, on a
machine that ran little else. The table has the microseconds of processor time a session, of client and servers together. Each sample counts once.

| part of the leaving of an HTTP session | moored-mcp, µs | rmcp, µs |
|---|--:|--:|
| the servers, most of it the closing and freeing of their connections | 81 | 66 |
| the DELETE, and the connections of the HTTP client | 65 | 47 |
| `rmcp`'s loop and its worker | 27 | 21 |
| the components, the names and the server's description are freed | 15 | 0 |
| the owner, its exits, the report | 59 | 0 |
| the runtime and the rest | 51 | 61 |
| all | 299 | 196 |

The 59 µs have no single place: the polls of the exits take 10 µs, and no other function more than 4 µs. Of all samples with moored-mcp
18 % are in `free` and 10 % in `malloc`, and 5 % wait for the lock of an allocator arena; with `rmcp` 15 % and 9 % are in the first two.

The rows and the parts above were measured before the following changes. `valgrind` counted the instructions of leaving 20 HTTP sessions, of client
and servers together, outside the kernel, on a runtime with one thread and without link-time optimisation.

| sources | instructions a session | after the report | allocations |
|---|--:|--:|--:|
| `rmcp` | 283,000 | | 71 |
| moored-mcp as in the rows above | 463,000 | | 181 |
| looks at the time of one region instead of two, and once for each wait; the address of the server parsed once; one copy of the handshake and of the report fewer; components freed after the report | 369,000 | 39,000 | 133 |
| orders given once, by the first call of `close`; sets of cancellations made when there is one; a wait follows a tighter order from 50 ms on | 341,000 | 40,000 | |

On a machine with load 8 the sources before and after these changes took turns, 5 to 61 rounds a turn. The table has the median ratio to `rmcp` of each turn.

| leave, HTTP servers | n | before | after |
|---|--:|--:|--:|
| elapsed | 1 | 1.31, 1.35 | 1.16, 1.31 |
| elapsed | 50 | 1.72, 1.35, 1.52 | 1.22, 1.37, 1.04 |
| elapsed | 200 | 1.51, 2.95 | 1.16, 1.13 |
| processor | 1 | 1.52, 1.45 | 1.34, 1.33 |
| processor | 50 | 1.24, 1.53, 1.36 | 1.11, 1.36, 1.16 |
| processor | 200 | 1.54, 1.72 | 1.16, 1.13 |

The following was looked into and left as it is:

- The DELETEs go through the one pool of the group and open no connection. Leaving polls tasks 18 times a session, `rmcp` 25 times.
- Without a view no event is made. There are no `tracing` spans.
- A DELETE allocates 18 times because `reqwest` copies its connector six times, in three boxes each: a layer of ours tells whether a request has opened a
  connection, so that only a request on a reused connection is sent again.
- A single child is left with one look at the process table: two reads of `/proc`, and a `getpgid` for each process. With 111 processes that took 88 µs at
  best and 180 µs on average under load. That is half of the processor time of leaving one child. The list of a process's children does not replace it, because the kernel gives the children of a leader that has ended to another
  process. Signal 0 and `getpriority` on the group count the leader that is not reaped. A look while the child is still ending would have to be completed
  with the processes that were created since, and `/proc/loadavg`, which names the newest, is replaced in some containers.

A child's process group is looked for in the process table before its leader is reaped: the
kernel counts a leader that is not reaped as a member of its group, and after the reaping the group's id may belong to another
program. One look does for all children that have ended by then.

## What the difference consists of

Connecting and leaving a child takes twice the processor time of this process that it takes with `rmcp`: 0.65 ms a session against 0.30 ms with
50 children, 0.63 ms against 0.35 ms with 200. By the clock the difference is smaller, because most of the time is that of the children.

`perf` sampled 30 rounds of 50 children on a busy machine, without link-time optimisation, and before five changes: the
processors are counted once, a look at the process table waits for the other children, requests that come at once are written at once, one pump
reads both outputs, and the items of a list are taken over without a copy. Each sample counts for one part, by the
functions in its stack. The shares are of all samples of this process, so work that `rmcp` does as well is in them. *ms* is an estimate: the share
of 0.64 ms. The rows above were measured after those changes, the shares were not.

| part | share | ms a session | what it serves |
|---|--:|--:|---|
| lists, names, making them visible | 16 % | 0.10 | items as they came beside the typed ones, hooked names, `list` and `components` |
| reading messages | 12 % | 0.08 | a broken answer fails its request and says why; a bad item is left out alone |
| the owner and its exits | 11 % | 0.07 | one owner a session, an exit for each resource, one budget |
| the runtime: waking, parking, polling | 10 % | 0.07 | in both; while connecting, 6.9 voluntary context switches a session against 2.1 |
| `rmcp`'s loop and its requests | 9 % | 0.06 | in both |
| start of the process, its pipes | 8 % | 0.05 | in both; ours has a third pipe |
| pumps | 8 % | 0.05 | a child that does not read or write blocks nothing; the end of standard error is in the report |
| the process table | 4 % | 0.03 | no process of the group is left, and none is signalled after the reaping |
| the handshake | 3 % | 0.02 | the era probe with a limit; a late answer counts |
| the report and the events | 2 % | 0.01 | a report of each leave |
| everything else | 17 % | 0.11 | the group, its regions, samples without a known function |

No single part accounts for the difference.

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
