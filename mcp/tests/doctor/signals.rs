//! SIGINT and SIGTERM, once and twice, and a reader that goes away.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::harness::{BINARY, Place, at, server, stdio};
use super::stub::{Answer, Stub};

#[test]
fn a_signal_while_connecting_leaves_prints_the_report_and_says_128_and_its_number() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let stub = Stub::start("initialize", Answer::Hang);
        let config = place.config(&[("child", stdio(&[])), ("web", at(stub.url()))]);
        let running = place.start(&["doctor", &config, "--json"]);
        stub.wait_for("initialize");
        running.signal(signal);
        let run = running.finish();
        run.expect(status);
        assert!(run.took < Duration::from_secs(9), "not the connect timeout: {:?}", run.took);
        let report = run.report();
        assert_eq!(server(&report, "web")["outcome"], "closing");
        let child = server(&report, "child")["outcome"].as_str().expect("a word").to_owned();
        assert!(["ok", "closing"].contains(&child.as_str()), "{child}");
        assert_eq!(place.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_signal_while_leaving_lets_the_leave_go_on() {
    let place = Place::new();
    let config = place.config(&[("mule", stdio(&["--ignore-eof"]))]);
    let mut running = place.start(&["doctor", &config, "--eof-grace", "1s"]);
    running.line_with(&["mule", "leaving: its input is closed"]);
    running.signal(Signal::TERM);
    let run = running.finish();
    run.expect(143);
    assert!(run.stderr.contains("SIGTERM: leaving"), "{}", run.stderr);
    assert!(run.stdout.contains("SIGTERM, ended by SIGTERM"), "{}", run.stdout);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_second_signal_kills_at_once_and_prints_the_same_report() {
    let place = Place::new();
    let config =
        place.config(&[("mule", stdio(&["--ignore-eof", "--ignore-sigterm", "--grandchild"]))]);
    let mut running = place.start(&["doctor", &config, "--budget", "50s", "--eof-grace", "40s"]);
    running.line_with(&["mule", "leaving: its input is closed"]);
    running.signal(Signal::INT);
    // Two signals of one kind that were not yet received count as one; these two are of different
    // kinds, and the first decides the status.
    running.signal(Signal::TERM);
    let run = running.finish();
    let status = run.status.code();
    assert!(status == Some(130) || status == Some(143), "{run:?}");
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    assert!(run.stdout.contains("SIGKILL, ended by SIGKILL"), "{}", run.stdout);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn two_signals_while_connecting_wait_for_nobody() {
    let place = Place::new();
    let stub = Stub::start("tools/list", Answer::Hang);
    let config = place.config(&[
        ("web", at(stub.url())),
        ("mule", stdio(&["--silent", "--ignore-eof", "--ignore-sigterm"])),
    ]);
    let running =
        place.start(&["doctor", &config, "--json", "--budget", "50s", "--eof-grace", "40s"]);
    stub.wait_for("tools/list");
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let run = running.finish();
    assert!([Some(130), Some(143)].contains(&run.status.code()), "{run:?}");
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    let report = run.report();
    assert_eq!(server(&report, "mule")["leave"]["exit_status"], json!({"signal": 9}));
    let delete = server(&report, "web")["leave"]["delete"].as_str().expect("a word").to_owned();
    // The DELETE may have been sent, or answered, before the program handled the second signal.
    assert!(["not_sent", "timed_out", "terminated"].contains(&delete.as_str()), "{delete}");
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_signal_ends_the_wait_for_a_configuration_that_does_not_come() {
    for words in [&["doctor"][..], &["serve"], &["call"]] {
        let place = Place::new();
        let pipe = place.file("servers.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let path = pipe.display().to_string();
        let rest: &[&str] = if words == ["call"] { &["server/tool", "{}"] } else { &[] };
        let running = place.start(&[words, &[path.as_str()][..], rest].concat());
        // It is open once the program has opened the other end, and reads.
        let writer = std::fs::OpenOptions::new().write(true).open(&pipe).expect("its other end");
        // Not SIGINT: a shell that runs the tests in the background has it ignored by everything inside.
        running.signal(Signal::TERM);
        let run = running.finish();
        assert_eq!(run.status.signal(), Some(15), "{words:?}: {run:?}");
        drop(writer);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    let config = place.config(&[("child", stdio(&[]))]);
    for flag in ["", "--json"] {
        let line = format!("{BINARY} doctor {config} {flag} >/dev/full");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line]);
        let run = place.start_program(shell, &[]).finish();
        run.expect(1);
        assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
    }
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_leave() {
    let place = Place::new();
    let stub = Stub::healthy();
    let config = place.config(&[("child", stdio(&["--ignore-eof"])), ("web", at(stub.url()))]);
    let mut running = place.start(&["doctor", &config, "--eof-grace", "300ms"]);
    running.line_with(&["connecting to"]);
    running.hang_up();
    stub.wait_for("DELETE");
    let run = running.finish();
    run.expect(0);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

/// A pager at the end of its page, or a stopped terminal.
#[test]
fn an_output_that_nobody_takes_delays_neither_the_servers_nor_the_end_after_a_signal() {
    for (hangs_at, words) in [
        (Some("tools/list"), "doctor CONFIG"),
        (Some("tools/list"), "doctor CONFIG --watch"),
        (None, "doctor CONFIG"),
        (None, "doctor CONFIG --json"),
        (None, "call CONFIG web/echo {}"),
    ] {
        let place = Place::new();
        let stub = match hangs_at {
            Some(method) => Stub::start(method, Answer::Hang),
            None => Stub::healthy(),
        };
        let config = place.config(&[("web", at(stub.url()))]);
        let pipe = place.file("unread").display().to_string();
        let words = words.replace("CONFIG", &config);
        // The program holds the other end of the pipe as well, and the pipe is full.
        let script = format!(
            "mkfifo {pipe}; exec 3<>{pipe}; head -c 65536 /dev/zero >&3; exec {BINARY} {words} >&3"
        );
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]);
        let running = place.start_program(shell, &[]);
        if let Some(method) = hangs_at {
            stub.wait_for(method);
            running.signal(Signal::TERM);
            stub.wait_for("DELETE");
        } else {
            stub.wait_for("DELETE");
            running.signal(Signal::TERM);
        }
        let run = running.finish();
        assert_eq!(run.status.code(), Some(143), "{words}: {run:?}");
        assert_eq!(place.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn fail_fast_keeps_what_came_up_and_interrupts_the_rest() {
    let place = Place::new();
    let (good, slow) = (Stub::healthy(), Stub::start("initialize", Answer::Hang));
    // The failing server waits for a file, which the test writes when the other side is ready for the failure.
    let go = place.file("go").display().to_string();
    let script = format!("while ! test -e {go}; do sleep 0.02; done; exit 9");
    let config = place.config(&[
        ("good", at(good.url())),
        ("slow", at(slow.url())),
        ("bad", json!({"command": "sh", "args": ["-c", script]})),
    ]);
    let mut running = place.start(&["doctor", &config, "--fail-fast", "--connect-timeout", "50s"]);
    running.line_with(&["good", "up"]);
    slow.wait_for("initialize");
    std::fs::write(&go, "").expect("the file is written");
    let run = running.finish();
    run.expect(1);
    assert!(run.took < Duration::from_secs(30), "{:?}", run.took);
    let row = |name: &str| {
        let row = run.stdout.lines().find(|l| l.starts_with(&format!(" {name}  ")));
        row.unwrap_or_else(|| panic!("no row {name}:\n{}", run.stdout)).to_owned()
    };
    assert!(row("good").contains(" up "), "{}", row("good"));
    assert!(row("slow").contains(" interrupted "), "{}", row("slow"));
    assert!(row("bad").contains(" exited "), "{}", row("bad"));
    assert_eq!(good.count("DELETE"), 1);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}
