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

The parts above were measured before the following changes, the rows after them. `valgrind` counted the instructions of leaving 20 HTTP sessions, of client
and servers together, outside the kernel, on a runtime with one thread and without link-time optimisation.

| sources | instructions a session | after the report | allocations |
|---|--:|--:|--:|
| `rmcp` | 283,000 | | 71 |
| moored-mcp as in the parts above | 463,000 | | 181 |
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
  connection, so that only a request on a reused connection is sent again. If the copies share what they wrap, connecting and leaving allocates
  50 times less of 2,172 and executes 0.7 % fewer instructions, servers included.
- A child is left with a look at the process table: two reads of
  `/proc`, and a `getpgid` for each process. With 80 processes that took 75 to 90 µs. A look at the part of the table from the leader on took 24 µs, and a
  single leave 0.66 ms in place of 0.79 ms. It was not kept: it goes by the order in which Linux gives ids and lists them, so it counts only for children that are
  left seconds after their start. The
  list of a process's children does not replace a look, because the kernel gives the children of a leader that has ended to another
  process. Signal 0 and `getpriority` on the group count the leader that is not reaped. A look while the child is still ending would have to be completed
  with the processes that were created since, and `/proc/loadavg`, which names the newest, is replaced in some containers.
- A look at the process table in advance, while the child is ending, halves the time of the look that counts, and the leave of a single child takes as long:
  0.74 ms against 0.71 ms without it, on a machine with load 15.
- The pumps of a child as children in the owner's task, rather than in tasks of their own, take the same processor time (1.21 ms against 1.22 ms with one
  child, 22.8 ms against 22.7 ms with 50). The child's input then ends some 20 µs sooner. In a task of its own, a pump whose child floods its output takes no turn
  from the owner.
- With 4, 8, 16 and 64 children that start at once, connecting to 50 of them took 86, 80, 74 and 85 ms on a machine with load 15, where rounds of `rmcp` took
  55 to 75 ms.
- The callers that share a look at the process table take their turns at a lock. With a watch, which wakes all of them at once, leaving 50 children
  took 1.11, 1.25, 1.28 and 1.28 of `rmcp`, and with the lock 1.41, 1.31, 1.26 and 1.23, on a machine with load 7.
- The owner is woken for the answer of each list, four times. One wake for all four would spare three polls, but a list with many pages would wait for the
  first page of the slowest one.

A child's process group is looked for in the process table before its leader is reaped: the
kernel counts a leader that is not reaped as a member of its group, and after the reaping the group's id may belong to another
program. One look does for all children that have ended by then.

## What the difference consists of

Three changes made children cheaper: the lists of a child take no way through `rmcp`, a group reads its environment
once, and the answer to the probe is read without a copy. The sources before
and after them took turns with `rmcp`, twice, on a machine with load 2 to 6. *Elapsed* and *processor* are the median ratios to `rmcp` of each turn;
processor time is that of this process.

| stdio children | n | before | after |
|---|--:|--:|--:|
| connect, elapsed | 1 | 1.13, 1.12 | 1.05, 1.08 |
| connect, processor | 1 | 1.41, 1.54 | 1.34, 1.27 |
| connect, elapsed | 50 | 1.18, 1.07 | 1.11, 1.07 |
| connect, processor | 50 | 1.90, 1.84 | 1.64, 1.61 |
| leave, elapsed | 50 | 1.30, 1.21 | 1.33, 1.30 |
| leave, processor | 50 | 2.65, 2.80 | 2.82, 2.63 |
| connect and leave, allocations a session (`rmcp`: 517) | 50 | 902 | 649 |

After the changes, and with the look at a part of the process table, `perf` sampled 300 rounds of one child and 30 rounds of 50 children on a machine with load 6 to 8. Each sample counts for one part, by the
functions in its stack. A part that stands at 0 for `rmcp` is in another one there. The last column has what ours serves.

| part, µs a session | one child | `rmcp` | 50 children | `rmcp` | |
|---|--:|--:|--:|--:|---|
| the owner, its regions and resources | 198 | 0 | 86 | 0 | one owner a session, one budget |
| start of the process, its pipes | 194 | 101 | 83 | 55 | in both; ours has a third pipe and an environment of safe variables |
| the group, or the tasks that stand for it | 146 | 86 | 29 | 27 | every session is left before its group is |
| the runtime: waking, parking, polling | 137 | 107 | 27 | 14 | in both; ours has two pumps more |
| reading messages | 97 | 76 | 63 | 37 | a broken answer fails its request and says why; a bad item is left out alone |
| the exits, the report | 66 | 0 | 20 | 0 | an exit for each resource, a report of each leave |
| the process table | 65 | 0 | 12 | 0 | no process of the group is left, and none is signalled after the reaping |
| lists, names, making them visible | 60 | 17 | 27 | 11 | items as they came, hooked names, `list` and `components` |
| `rmcp`'s loop and its requests | 43 | 88 | 14 | 27 | in both; ours has no list in it |
| writing messages | 42 | 72 | 12 | 30 | in both; ours are written together |
| the handshake | 22 | 0 | 11 | 0 | the era probe with a limit; a late answer counts |
| the rest | 9 | 10 | 2 | 1 | |
| all | 1,081 | 556 | 385 | 202 | |

While 50 children start, both processors are busy, so that elapsed time is processor time, that of the children included. A child takes 1.57 ms of it with
moored-mcp and 1.67 ms with `rmcp` (sampled before the changes). With the 0.39 and 0.20 ms of this process that makes 1.05 of `rmcp`. Without the 86 µs of
the owner it would be 1.00, by this calculation; no function of the owner takes more than 2 % of all samples.

The time between system calls that a single session of a child waits for, in µs, with `perf trace`, before these changes, lowest and highest median of two to four
runs:

| between | moored-mcp | rmcp |
|---|--:|--:|
| the call, and the start of the process | 205 to 230 | 108 to 169 |
| the answer to the probe, and the requests for the lists | 194 to 209 | 120 to 142 |
| the last answer, and the return of the call | 70 to 89 | 38 to 62 |
| the order to leave, and the end of the child's input | 80 to 103 | 36 to 66 |

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
