//! The fault suite: one test for each fault, each in a process of its own, on one thread and on many, and after each one the
//! same invariants.
//!
//! A fault's test starts this program again with the name of the fault. That process plays the fault twice, once on
//! each kind of runtime, between two healthy siblings, and checks afterwards that nothing is left: see `invariants.rs`.
//! The error that the caller gets, and the leaving of the server, become a row of `docs/mcp-faults.md`; a row there
//! that differs fails the test. `bash ci/mcp-faults.sh` writes the page anew, with the times of that run.

#[path = "../comparison/comparison.rs"]
mod comparison;
mod connect;
mod invariants;
mod leaving;
mod running;
mod scene;
mod soak;
mod table;
mod wire;

#[allow(dead_code, reason = "the suite of sessions uses all of it")]
#[path = "../sessions/support.rs"]
mod support;

use std::alloc::System;
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use parking_lot::Mutex;

use scene::Row;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts the memory in use, for the soak.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The variable with the fault that this process has to play.
const PLAY: &str = "MOORED_MCP_FAULT";
/// Most of a fault is waiting, so more faults are played at once than there are processors.
const AT_ONCE: usize = 12;

/// A fault, and how it is played.
struct Fault {
    /// The part of a session's life it belongs to.
    room: &'static str,
    /// The name of its test.
    name: &'static str,
    /// The fault in words, as the page has it.
    words: &'static str,
    play: fn() -> Pin<Box<dyn Future<Output = Row>>>,
}

macro_rules! faults {
    ($($room:ident { $($name:ident: $words:literal,)* })*) => {
        static FAULTS: &[Fault] = &[$($(
            Fault {
                room: stringify!($room),
                name: stringify!($name),
                words: $words,
                play: || Box::pin($room::$name()),
            },
        )*)*];
    };
}

faults! {
    connect {
        refused: "nobody listens",
        black_hole: "nobody answers the connection request",
        shy: "the connection is closed without a word",
        plain_http_on_tls: "plain HTTP where TLS was expected",
        bad_certificate: "a certificate that nobody has signed",
        one_of_many_fail_fast: "one of three is refused, fail-fast",
        one_of_many_best_effort: "one of three is refused, best effort",
        several_at_once: "two of four fail in different ways",
        never_answers_initialize: "`initialize` is never answered",
        auth_required: "401 with a challenge",
        forbidden: "403",
        initialized_500: "`notifications/initialized` answered 500",
        garbage: "`initialize` answered with broken JSON",
        web_page: "`initialize` answered with a web page",
        accepted_only: "`initialize` answered 202",
        wrong_id: "`initialize` answered with another id",
        unknown_version: "`initialize` answered with version 1999-01-01",
        no_such_command: "a command that is not there",
        not_executable: "a command that is not executable",
        exits_with_7: "exits at once with 7 and words on stderr",
        killed_at_once: "is killed at once",
        banner: "noise before the first message",
        silent_child: "a child that never answers",
        caller_dropped: "the caller goes away during `initialize`",
        caller_timed_out: "the caller's own time limit passes during `initialize`",
        caller_cancelled: "the caller is cancelled during `initialize`",
        close_during_connect: "the group is closed during `initialize`",
        duplicate_name: "a name that another server has",
        taken_component: "a tool whose name another server's tool has",
        hook_panics: "the naming hook panics",
        nothing_offered: "a server that offers nothing",
        one_list_fails: "one of three lists answered 500",
        repeating_cursor: "a cursor that repeats",
        endless_pages: "pages without end",
    }
    running {
        exits_in_call: "exits with 7 during a call",
        killed_in_call: "is killed during a call",
        closes_output_in_call: "closes its output during a call",
        http_server_dies: "the HTTP server is gone during a call",
        stream_without_answer: "the stream of a call ends without an answer",
        resumption_refused: "the stream is lost, and its resumption refused",
        session_expired: "404 for a session that was known",
        one_503: "one 503",
        one_429: "one 429",
        stream_in_a_loop: "the session's stream ends at once, again and again",
        call_times_out_http: "a call is never answered (HTTP, session era)",
        call_times_out_stateless: "a call is never answered (HTTP, stateless era)",
        call_times_out_stdio: "a call is never answered (stdio)",
        caller_drops_call: "the caller drops a call",
        cancel_races_answer: "forty calls are dropped about when their answers come",
        stops_reading: "stops reading with 3 MiB on their way to it",
        floods_stdout: "floods stdout with noise",
        floods_stderr: "floods stderr",
        long_line: "a line of 40 MB",
        handlers_panic: "the callbacks for a request and for a notification panic",
        handler_ignores_cancellation: "a callback ignores its cancellation",
    }
    leaving {
        close_from_another_task: "closed from another task",
        any_order: "eight sessions disconnected in order, in reverse, and mixed",
        two_closes: "two closes at once",
        close_dropped_midway: "a close is dropped midway and called again",
        close_with_calls: "fifty calls in flight at the close",
        delete_hangs: "DELETE is never answered",
        delete_statuses: "DELETE answered 200, 202, 204, 405, 404, 401, 500, reset",
        exits_on_eof: "exits at the end of its input",
        ignores_eof: "ignores the end of its input",
        ignores_both: "ignores the end of its input and SIGTERM",
        grandchild: "a grandchild holds the pipes",
        launcher: "a launcher around a server that ignores the end of its input",
        stray: "a process that left the group holds the pipes",
        dropped_inside: "the group is dropped inside its runtime, without a close",
        dropped_outside: "the group is dropped outside of its runtime",
        runtime_shut_down: "the runtime is shut down with a child connected",
        dropped_unwinding: "the group is dropped while a panic unwinds",
        three_teardown_faults: "three handshakes fail, and so do their DELETEs",
        caller_cancelled_while_leaving: "the caller of close is cancelled",
        forced_while_leaving: "forced while a DELETE hangs and a child ignores SIGTERM",
        client_interrupted: "the client gets SIGINT",
        client_terminated: "the client gets SIGTERM",
        client_killed: "the client is ended by SIGKILL",
        forty_at_once: "forty sessions left at once, half stdio, half HTTP",
        descriptor_limit: "the descriptors run out while thirty servers are started",
    }
    wire {
        slow_modern_server: "a modern server answers the probe after it was given up",
        exits_on_probe: "a child exits on the probe",
        probe_refused: "the probe answered with 405, 404, 500, `{}`, a closed connection",
        probe_opens_session: "a refused probe that comes with the id of a session",
        names_the_version: "a DELETE that wants to know the version",
        answer_before_exit: "answers and exits at once",
        pooled_connection_closed: "closes kept connections unannounced",
        bad_item: "a list with one item that cannot be read",
        list_unauthorized: "`tools/list` answered 401",
        exits_while_listing: "exits while it lists",
        malformed_answer: "an answer with a pending id and nothing else",
        not_unicode: "an answer that is not UTF-8",
        noise_in_stream: "pings, comments and data that is no JSON in the stream of a call",
        post_redirected: "a 302, which would make a GET of the POST",
        media_type_in_capitals: "`Application/JSON; Charset=UTF-8`",
        one_start_at_a_time: "four children, one start at a time",
    }
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(PLAY) {
        let fault = FAULTS.iter().find(|fault| test_name(fault) == name).expect("a fault");
        println!("{}", table::encode(&invariants::play(fault)));
        return ExitCode::SUCCESS;
    }
    if let Ok(url) = std::env::var(soak::PLAY) {
        soak::play(&url);
        return ExitCode::SUCCESS;
    }
    if let Ok(what) = std::env::var(comparison::PLAY) {
        comparison::play(&what);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let is_written = std::env::var_os("MOORED_MCP_FAULTS_PAGE");
    let checks = is_written.is_none();
    let mut trials: Vec<Trial> = FAULTS
        .iter()
        .map(|fault| {
            let seen = seen.clone();
            Trial::test(test_name(fault), move || {
                let row = in_a_process(fault)?;
                if checks {
                    table::expect_row(fault, &row)?;
                }
                seen.lock().push((fault, row));
                Ok(())
            })
        })
        .collect();
    if checks {
        trials.push(Trial::test("the_page_has_every_fault_in_order", table::expect_all));
    }
    // Run by scripts, for their figures.
    trials.push(Trial::test("comparison", comparison::run).with_ignored_flag(true));
    trials.push(Trial::test("soak", soak::long).with_ignored_flag(true));
    if checks {
        trials.push(Trial::test("a_short_soak", soak::short));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(path) = is_written
        && !conclusion.has_failed()
    {
        let page = table::page(&seen.lock());
        std::fs::write(path, page).expect("the page is written");
    }
    conclusion.exit_code()
}

fn test_name(fault: &Fault) -> String {
    format!("{}::{}", fault.room, fault.name)
}

/// Plays a fault in a process of its own, whose descriptors and children are its own.
fn in_a_process(fault: &Fault) -> Result<table::Played, Failed> {
    const LIMIT: Duration = Duration::from_secs(120);
    let place = tempfile::tempdir()?;
    let child = Command::new(std::env::current_exe()?)
        .env(PLAY, test_name(fault))
        // Inherited by every child of it, so that they can be found.
        .env("TMPDIR", place.path())
        // A backtrace of a test's own assertion is of no use.
        .env("RUST_BACKTRACE", "0")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    let id = child.id();
    let (sender, output) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = output.recv_timeout(LIMIT) else {
        let id = rustix::process::Pid::from_raw(id.cast_signed()).expect("an id");
        let _gone = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        return Err(format!("not over within {LIMIT:?}").into());
    };
    let output = output?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}\n{said}", output.status).into());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    table::decode(last).ok_or_else(|| format!("it said no row: {said}").into())
}
