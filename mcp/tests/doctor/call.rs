//! `moored-mcp call`: the result on stdout, the exit status, and the refusals.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{Place, Run, at, stdio};
use super::stub::Stub;

fn text(run: &Run) -> String {
    let result = run.result();
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result:#}")).to_owned()
}

/// A server that creates the file `started` when it is started.
fn marking(place: &Place) -> Value {
    json!({"command": "touch", "args": [place.file("started").display().to_string()]})
}

#[test]
fn a_tool_of_a_named_server_is_called_and_only_that_server_started() {
    let place = Place::new();
    let config = place.config(&[("other", marking(&place)), ("mine", stdio(&[]))]);
    let run = place.run(&["call", &config, "mine/echo", r#"{"message": "ahoy"}"#]);
    run.expect(0);
    assert_eq!(text(&run), "ahoy");
    assert_eq!(run.stderr, "");
    assert!(!place.file("started").exists());
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn over_http_the_session_is_ended_after_the_call() {
    let place = Place::new();
    let stub = Stub::healthy();
    let config = place.config(&[("web", at(stub.url()))]);
    let run = place.run(&["call", &config, "web/echo", r#"{"message": "ahoy"}"#]);
    run.expect(0);
    assert_eq!(text(&run), "ahoy");
    assert_eq!((stub.count("tools/call"), stub.count("DELETE")), (1, 1));
}

#[test]
fn a_bare_name_is_called_where_one_server_has_it() {
    let place = Place::new();
    let stub = Stub::healthy();
    let config = place.config(&[("web", at(stub.url())), ("child", stdio(&[]))]);
    let run = place.run(&["call", &config, "sleep", r#"{"ms": 1}"#]);
    run.expect(0);
    assert_eq!(text(&run), "slept 1 ms");

    let run = place.run(&["call", &config, "echo", r#"{"message": "x"}"#]);
    run.expect_refused(&["more than one", "child/echo", "web/echo"]);
    assert_eq!(stub.count("tools/call"), 0);
    assert_eq!(stub.count("DELETE"), 2);
}

#[test]
fn what_is_asked_for_in_the_wrong_way_is_refused_and_nothing_started() {
    let place = Place::new();
    let config = place.config(&[("good", marking(&place))]);
    for (tool, arguments, word) in [
        ("nobody/echo", "{}", "nobody/echo"),
        ("good/echo", "[]", "object"),
        ("good/echo", "{", "not valid JSON"),
        ("", "{}", "empty"),
    ] {
        place.run(&["call", &config, tool, arguments]).expect_refused(&[word]);
    }
    place.run(&["call", &config, "good/echo"]).expect_refused(&[]);
    place.run(&["call", &config, "good/echo", "{}", "--timeout", "5"]).expect_refused(&["unit"]);
    assert!(!place.file("started").exists());
}

#[test]
fn a_tool_that_nobody_has_is_refused_with_those_there_are() {
    let place = Place::new();
    let config = place.config(&[("child", stdio(&[]))]);
    let run = place.run(&["call", &config, "child/dance", "{}"]);
    run.expect_refused(&["dance", "echo, fail, sleep"]);
    let run = place.run(&["call", &config, "dance", "{}"]);
    run.expect_refused(&["dance", "child/echo"]);
}

#[test]
fn a_tool_s_own_error_is_printed_and_ends_with_status_1() {
    let place = Place::new();
    let config = place.config(&[("child", stdio(&[]))]);
    let run = place.run(&["call", &config, "child/fail", "{}"]);
    run.expect(1);
    assert_eq!(run.result()["isError"], true);
    assert_eq!(text(&run), "this tool always fails");
}

#[test]
fn a_call_that_takes_too_long_ends_with_status_1() {
    let place = Place::new();
    let config = place.config(&[("child", stdio(&[]))]);
    let run =
        place.run(&["call", &config, "child/sleep", r#"{"ms": 60000}"#, "--timeout", "300ms"]);
    run.expect(1);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("300"), "{}", run.stderr);
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_server_that_dies_of_the_call_is_told_by_its_status() {
    let place = Place::new();
    let config = place.config(&[("child", stdio(&["--exit-code", "7", "--exit-at", "call"]))]);
    let run = place.run(&["call", &config, "child/echo", r#"{"message": "x"}"#]);
    run.expect(1);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("exited with status 7"), "{}", run.stderr);
}

/// A child that answers one call and then runs `end`, a line of shell.
fn answers_and(end: &str) -> Value {
    let script = format!(
        r#"
answer() {{ printf '{{"jsonrpc":"2.0","id":%s,%s}}\n' "$id" "$1"; }}
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
        *'"initialize"'*) answer '"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"sh","version":"1"}}}}' ;;
        *'"tools/list"'*) answer '"result":{{"tools":[{{"name":"echo","inputSchema":{{"type":"object"}}}}]}}' ;;
        *'"tools/call"'*) answer '"result":{{"content":[{{"type":"text","text":"done"}}]}}'; {end} ;;
    esac
done"#
    );
    json!({"command": "sh", "args": ["-c", script], "era": "legacy"})
}

#[test]
fn a_server_that_answers_and_then_exits_has_answered() {
    let place = Place::new();
    // It is chance whether the command sees the exit or its own end first, so each case runs four times.
    for end in ["exit 0", "exit 1", "exec >&-; sleep 0.05; exit 0"].repeat(4) {
        let config = place.config(&[("child", answers_and(end))]);
        let run = place.run(&["call", &config, "child/echo", "{}"]);
        run.expect(0);
        assert_eq!((text(&run).as_str(), run.stderr.as_str()), ("done", ""), "{end}");
    }
    let config = place.config(&[("child", answers_and("kill -9 $$"))]);
    let run = place.run(&["call", &config, "child/echo", "{}"]);
    run.expect(1);
    assert_eq!(text(&run), "done");
    assert!(run.stderr.contains("SIGKILL"), "{}", run.stderr);
}

#[test]
fn a_server_that_does_not_come_up_ends_with_status_1_and_its_cause() {
    let place = Place::new();
    let config =
        place.config(&[("none", json!({"command": "/nonexistent"})), ("child", stdio(&[]))]);
    for tool in ["none/echo", "echo"] {
        let run = place.run(&["call", &config, tool, r#"{"message": "x"}"#]);
        run.expect(1);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains("No such file or directory (os error 2)"), "{}", run.stderr);
    }
    let run = place.run(&["call", &config, "child/echo", r#"{"message": "x"}"#]);
    run.expect(0);
}

#[test]
fn the_last_words_of_a_server_that_does_not_come_up_are_shown() {
    let place = Place::new();
    let flags = ["--exit-code", "7", "--exit-at", "start", "--stderr", "no licence"];
    let config = place.config(&[("child", stdio(&flags))]);
    let run = place.run(&["call", &config, "child/echo", "{}"]);
    run.expect(1);
    assert!(run.stderr.contains("moored-mcp: its stderr: no licence\n"), "{}", run.stderr);
}

#[test]
fn a_large_argument_to_a_child_that_stops_reading_does_not_hold_the_leave() {
    let place = Place::new();
    let config = place.config(&[("child", stdio(&["--stop-reading"]))]);
    // The longest argument that a command line takes is 128 KiB, twice the size of a pipe.
    let arguments = json!({"message": "x".repeat(120_000)}).to_string();
    let args =
        ["call", &config, "child/echo", &arguments, "--timeout", "1s", "--eof-grace", "300ms"];
    let run = place.run(&args);
    assert!([Some(0), Some(1)].contains(&run.status.code()), "{run:?}");
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_signal_during_the_call_leaves_and_says_130() {
    let place = Place::new();
    let stub = Stub::start("tools/call", super::stub::Answer::Hang);
    let config = place.config(&[("web", at(stub.url()))]);
    let running = place.start(&["call", &config, "web/echo", "{}", "--timeout", "50s"]);
    stub.wait_for("tools/call");
    running.signal(Signal::INT);
    let run = running.finish();
    run.expect(130);
    assert_eq!(run.stdout, "");
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    assert_eq!(stub.count("DELETE"), 1);
}
