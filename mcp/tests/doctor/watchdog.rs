//! SIGKILL to the program: nothing of its servers is left.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::harness::{BINARY, LIMIT, Place, stdio};

/// Waits until nothing of this place runs any more; the watchdog is of it too.
fn nothing_is_left(place: &Place) {
    let end = Instant::now() + LIMIT;
    while !place.leftovers().is_empty() {
        assert!(Instant::now() < end, "still running: {:#?}", place.leftovers());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_doctor_that_is_killed_leaves_no_process_behind() {
    let place = Place::new();
    // A child that ignores all but SIGKILL, with a child of its own; a launcher around a server; one that is well.
    let launcher = format!("{BINARY} fleet-server --life 90s --ignore-eof --ignore-sigterm; :");
    let config = place.config(&[
        ("mule", stdio(&["--ignore-eof", "--ignore-sigterm", "--grandchild"])),
        ("launched", json!({"command": "sh", "args": ["-c", launcher]})),
        ("well", stdio(&[])),
    ]);
    let mut running = place.start(&["doctor", &config, "--watch"]);
    for name in ["mule", "launched", "well"] {
        while !running.said(&[name, "up"]) {
            running.line_with(&["up"]);
        }
    }
    running.signal(Signal::KILL);
    let _killed = running.finish();
    nothing_is_left(&place);
}

#[test]
fn a_doctor_that_is_killed_while_it_leaves_leaves_no_process_behind() {
    let place = Place::new();
    let config = place.config(&[("mule", stdio(&["--ignore-eof", "--ignore-sigterm"]))]);
    let mut running = place.start(&["doctor", &config, "--budget", "50s", "--eof-grace", "40s"]);
    running.line_with(&["mule", "leaving: its input is closed"]);
    running.signal(Signal::KILL);
    let _killed = running.finish();
    nothing_is_left(&place);
}

#[test]
fn a_program_that_ends_in_order_takes_its_watchdog_with_it() {
    let place = Place::new();
    let config = place.config(&[("well", stdio(&[]))]);
    place.run(&["doctor", &config]).expect(0);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    place.run(&["call", &config, "well/echo", r#"{"message": "ahoy"}"#]).expect(0);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}
