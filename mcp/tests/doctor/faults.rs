//! Children that misbehave, one fault each.

use serde_json::{Value, json};

use super::harness::{BINARY, Place, at, cause, server, stdio};
use super::stub::{Answer, Stub};

/// Examines one child, checks that none of its processes is left, and returns its report.
fn examine(flags: &[&str], more: &[&str], status: i32) -> Value {
    let place = Place::new();
    let (run, report) = place.examine(&[("child", stdio(flags))], more);
    run.expect(status);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    server(&report, "child").clone()
}

#[test]
fn a_child_that_exits_at_once_is_told_by_its_status_and_its_last_words() {
    let child =
        examine(&["--exit-code", "7", "--exit-at", "start", "--stderr", "no licence"], &[], 1);
    assert_eq!(child["outcome"], "exited");
    assert_eq!(child["error"]["exit_status"], json!({"code": 7}));
    assert_eq!(child["error"]["stderr_tail"], "no licence\n");
    assert_eq!(child["leave"]["exit_status"], json!({"code": 7}));
    assert_eq!(child["leave"]["clean"], true, "any exit code is clean: {child:#}");
    assert_eq!(child["leave"]["signals"], json!([]));
}

#[test]
fn a_command_that_is_not_there_is_told_by_the_system_s_words() {
    let place = Place::new();
    let (run, report) = place.examine(&[("none", json!({"command": "/nonexistent/server"}))], &[]);
    run.expect(1);
    let none = server(&report, "none");
    assert_eq!(none["outcome"], "spawn_failed");
    assert_eq!(cause(none), "No such file or directory (os error 2)");
    assert_eq!(none["leave"]["clean"], true);
    assert_eq!(none["leave"]["exit_status"], Value::Null);
}

#[test]
fn a_child_that_never_answers_is_cut_off_at_the_connect_timeout() {
    let child = examine(&["--silent"], &["--connect-timeout", "500ms"], 1);
    assert_eq!(child["outcome"], "timed_out");
    let ms = child["connect_ms"].as_u64().expect("a number");
    assert!((500..5_000).contains(&ms), "{ms}");
    assert_eq!(child["leave"]["exit_status"], json!({"code": 0}), "it leaves at the end of stdin");
    assert_eq!(child["leave"]["clean"], true);
}

#[test]
fn noise_before_the_first_message_is_tolerated() {
    let child = examine(&["--banner", "Starting the server ..."], &[], 0);
    assert_eq!(child["outcome"], "ok");
    assert_eq!(child["tools"], 3);
}

#[test]
fn a_child_that_ignores_the_end_of_its_input_gets_exactly_one_sigterm() {
    let child = examine(&["--ignore-eof"], &["--eof-grace", "200ms"], 0);
    assert_eq!(child["leave"]["signals"], json!(["SIGTERM"]));
    assert_eq!(child["leave"]["exit_status"], json!({"signal": 15}));
    assert_eq!(child["leave"]["clean"], true, "SIGTERM alone is clean");
}

#[test]
fn a_child_that_ignores_sigterm_as_well_is_killed_after_both_graces() {
    let flags = ["--ignore-eof", "--ignore-sigterm"];
    let child = examine(&flags, &["--eof-grace", "300ms", "--term-grace", "400ms"], 1);
    assert_eq!(child["leave"]["signals"], json!(["SIGTERM", "SIGKILL"]));
    assert_eq!(child["leave"]["exit_status"], json!({"signal": 9}));
    let ms = child["leave"]["ms"].as_u64().expect("a number");
    assert!((700..3_000).contains(&ms), "{ms}");
}

#[test]
fn an_exit_code_at_the_end_is_clean_and_reported() {
    let child = examine(&["--exit-code", "3"], &[], 0);
    assert_eq!(child["leave"]["exit_status"], json!({"code": 3}));
    assert_eq!(child["leave"]["clean"], true);
}

#[test]
fn a_grandchild_that_holds_the_pipes_is_swept_after_its_leader_has_gone() {
    let child = examine(&["--grandchild"], &["--eof-grace", "300ms"], 0);
    assert_eq!(child["leave"]["exit_status"], json!({"code": 0}));
    assert_eq!(child["leave"]["signals"], json!(["SIGTERM"]));
    assert_eq!(child["leave"]["survivors"], json!([]));
    assert_eq!(child["leave"]["clean"], true);
}

#[test]
fn a_launcher_that_does_not_exec_takes_its_server_with_it() {
    let place = Place::new();
    let line = format!("{} fleet-server --life 90s --ignore-eof; exit $?", BINARY);
    let launcher = json!({"command": "sh", "args": ["-c", line]});
    let (run, report) = place.examine(&[("launched", launcher)], &["--eof-grace", "200ms"]);
    run.expect(0);
    let launched = server(&report, "launched");
    assert_eq!(launched["outcome"], "ok");
    assert_eq!(launched["leave"]["signals"], json!(["SIGTERM"]));
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn what_speaks_no_protocol_is_told_so() {
    let place = Place::new();
    let chatter = json!({"command": "sh", "args": ["-c", "while read line; do echo '{\"jsonrpc\": 1}'; done"]});
    let (run, report) = place.examine(&[("chatter", chatter)], &["--connect-timeout", "3s"]);
    run.expect(1);
    let chatter = server(&report, "chatter");
    assert!(
        ["protocol_error", "timed_out"].contains(&chatter["outcome"].as_str().unwrap_or_default()),
        "{chatter:#}"
    );
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_server_that_refuses_the_handshake_is_told_by_its_own_words() {
    let child = examine(&["--eras", "legacy", "--reject"], &[], 1);
    assert_eq!(child["outcome"], "protocol_error", "{child:#}");
    let chain = child["error"]["chain"].to_string();
    assert!(chain.contains("no admittance"), "{chain}");
    assert_eq!(child["error"]["exit_status"], Value::Null, "it was alive until it was left");
    assert_eq!(child["leave"]["clean"], true);
}

#[test]
fn a_process_that_left_the_group_is_not_claimed_and_not_waited_for() {
    let place = Place::new();
    // The `sleep` holds the pipes of its server open for two seconds, in a session of its own.
    let line = format!("setsid sleep 2 & exec {} fleet-server --life 90s", BINARY);
    let entry = json!({"command": "sh", "args": ["-c", line]});
    let (run, report) = place.examine(&[("child", entry)], &[]);
    run.expect(0);
    let leave = &server(&report, "child")["leave"];
    assert_eq!((&leave["signals"], &leave["survivors"]), (&json!([]), &json!([])));
    assert!(leave["ms"].as_u64().expect("a number") < 1_500, "{leave:#}");
}

#[test]
fn a_child_that_dies_between_connecting_and_leaving_is_told_so() {
    let place = Place::new();
    let slow = Stub::start("initialize", Answer::Hang);
    let short = json!({"command": BINARY, "args": ["fleet-server", "--life", "400ms"]});
    let servers = [("short", short), ("slow", at(slow.url()))];
    let (run, report) = place.examine(&servers, &["--connect-timeout", "2s"]);
    run.expect(1);
    let short = server(&report, "short");
    assert_eq!(short["outcome"], "exited", "{short:#}");
    assert_eq!(short["error"]["exit_status"], json!({"code": 124}));
    assert_eq!(short["leave"]["exit_status"], json!({"code": 124}));
    assert_eq!((&short["leave"]["signals"], &short["leave"]["clean"]), (&json!([]), &json!(true)));
    assert_eq!(server(&report, "slow")["outcome"], "timed_out");
}

#[test]
fn the_clean_up_of_what_failed_is_a_part_of_leaving() {
    let place = Place::new();
    let stub = Stub::healthy();
    let mule = stdio(&["--silent", "--ignore-eof", "--ignore-sigterm"]);
    let more = ["--connect-timeout", "300ms", "--eof-grace", "500ms", "--term-grace", "500ms"];
    let (run, report) = place.examine(&[("mule", mule), ("web", at(stub.url()))], &more);
    run.expect(1);
    let mule = server(&report, "mule");
    assert_eq!(mule["outcome"], "timed_out");
    assert_eq!(mule["leave"]["signals"], json!(["SIGTERM", "SIGKILL"]));
    let ms = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{report:#}"));
    assert!((300..900).contains(&ms(&report["connect_ms"])), "{report:#}");
    // Both durations are cut off to whole milliseconds, so the whole may be slightly less than its part.
    assert!(ms(&report["leave_ms"]) + 20 >= ms(&mule["leave"]["ms"]), "{report:#}");
    assert!(ms(&mule["leave"]["ms"]) >= 1_000, "{report:#}");
}

#[test]
fn a_server_that_refuses_and_exits_at_once_is_told_by_its_own_words_too() {
    let child = examine(&["--eras", "legacy", "--reject", "--exit-code", "3"], &[], 1);
    assert_eq!(child["outcome"], "protocol_error", "{child:#}");
    assert!(child["error"]["chain"].to_string().contains("no admittance"), "{child:#}");
    assert_eq!(child["leave"]["exit_status"], json!({"code": 3}));
    assert_eq!(child["leave"]["signals"], json!([]));
}
