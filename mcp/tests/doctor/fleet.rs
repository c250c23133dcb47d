//! The embedded fleet, which a fresh machine sees first.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Place, cause, server};

/// The limit of a run over the embedded fleet.
const PROMISED: Duration = Duration::from_secs(10);

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        value.as_object().map(|o| o.keys().map(String::as_str).collect()).unwrap_or_default();
    keys.sort_unstable();
    keys
}

/// The names of the phases in which a server was left.
fn phases(server: &Value) -> Vec<&str> {
    let phases = server["leave"]["phases"].as_array().expect("a list");
    phases.iter().filter_map(|it| it["phase"].as_str()).collect()
}

#[test]
fn the_fleet_tells_who_came_up_who_did_not_and_how_each_left() {
    let place = Place::new();
    let run = place.run(&["doctor", "--json"]);
    run.expect(0);
    assert_eq!(run.stderr, "");
    assert!(run.took < PROMISED, "{:?}", run.took);
    assert_eq!(place.leftovers(), Vec::<String>::new());

    let report = run.report();
    assert_eq!((&report["version"], &report["clean"]), (&json!(1), &json!(false)));
    let names: Vec<&str> = report["servers"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|s| s["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["healthy-http", "healthy-stdio", "refused", "delete-hangs", "stubborn-child"]
    );

    let healthy = server(&report, "healthy-http");
    assert_eq!(healthy["outcome"], "ok");
    assert_eq!(healthy["error"], Value::Null);
    assert_eq!(healthy["era"], "2025-11-25");
    assert_eq!(
        (&healthy["tools"], &healthy["prompts"], &healthy["resources"]),
        (&json!(3), &json!(1), &json!(1))
    );
    assert_eq!(healthy["leave"]["delete"], "terminated");
    assert_eq!(healthy["leave"]["clean"], true);

    let child = server(&report, "healthy-stdio");
    assert_eq!((&child["outcome"], &child["tools"]), (&json!("ok"), &json!(3)));
    assert_eq!(child["era"], "2026-07-28");
    assert_eq!(child["leave"]["exit_status"], json!({"code": 0}));
    assert_eq!(child["leave"]["signals"], json!([]));
    assert_eq!(child["leave"]["delete"], "not_applicable");
    assert_eq!(child["leave"]["clean"], true);

    let refused = server(&report, "refused");
    assert_eq!(refused["outcome"], "unreachable");
    assert_eq!(cause(refused), "Connection refused (os error 111)");
    assert_eq!(refused["error"]["chain"][0], refused["error"]["message"]);
    assert_eq!(
        refused["leave"],
        json!({"clean": true, "ms": 0, "phases": [], "delete": "not_applicable", "signals": [],
               "exit_status": null, "survivors": [], "suppressed": []})
    );

    assert_eq!(phases(healthy), ["delete"]);
    assert_eq!(phases(child), ["end_of_input"]);

    let hanging = server(&report, "delete-hangs");
    assert_eq!(hanging["outcome"], "ok");
    assert_eq!(hanging["leave"]["delete"], "timed_out");
    assert_eq!(hanging["leave"]["clean"], false);
    assert!(hanging["leave"]["ms"].as_u64().expect("a number") <= 5_100, "{hanging:#}");

    let stubborn = server(&report, "stubborn-child");
    assert_eq!(stubborn["outcome"], "ok");
    assert_eq!(stubborn["leave"]["signals"], json!(["SIGTERM", "SIGKILL"]));
    assert_eq!(stubborn["leave"]["exit_status"], json!({"signal": 9}));
    assert_eq!(phases(stubborn), ["end_of_input", "terminate", "kill"]);
    assert_eq!(stubborn["leave"]["clean"], false);
    assert_eq!(stubborn["leave"]["survivors"], json!([]));
}

#[test]
fn the_json_has_the_fields_of_the_contract_and_no_others() {
    let run = Place::new().run(&["doctor", "--json", "--budget", "1s"]);
    let report = run.report();
    assert_eq!(
        keys(&report),
        ["clean", "connect_ms", "drain_ms", "leave_ms", "servers", "version"]
    );
    for server in report["servers"].as_array().expect("a list") {
        assert_eq!(
            keys(server),
            [
                "attempts",
                "connect_ms",
                "era",
                "error",
                "leave",
                "name",
                "outcome",
                "prompts",
                "resources",
                "server",
                "starts",
                "tools",
                "transport",
                "waited_ms",
                "warnings"
            ]
        );
        let mut in_leave = keys(&server["leave"]);
        let says_descendants = in_leave.contains(&"descendants");
        assert_eq!(says_descendants, server["transport"] == "stdio", "{server:#}");
        in_leave.retain(|key| *key != "descendants");
        assert_eq!(
            in_leave,
            [
                "clean",
                "delete",
                "exit_status",
                "ms",
                "phases",
                "signals",
                "suppressed",
                "survivors"
            ]
        );
        for phase in server["leave"]["phases"].as_array().expect("a list") {
            assert_eq!(keys(phase), ["ms", "phase"]);
        }
        if !server["error"].is_null() {
            assert_eq!(keys(&server["error"]), ["chain", "exit_status", "message", "stderr_tail"]);
        }
        assert!(server["connect_ms"].is_u64(), "{server:#}");
    }
}

#[test]
fn the_budget_bounds_leaving_and_the_graces_shrink_to_fit() {
    let place = Place::new();
    let run = place.run(&["doctor", "--json", "--budget", "1500ms"]);
    run.expect(0);
    let report = run.report();
    let leave_ms = report["leave_ms"].as_u64().expect("a number");
    assert!(leave_ms <= 1_700, "{leave_ms}");
    let stubborn = &server(&report, "stubborn-child")["leave"];
    assert_eq!(stubborn["signals"], json!(["SIGTERM", "SIGKILL"]));
    assert!(stubborn["ms"].as_u64().expect("a number") <= 1_300, "{stubborn:#}");
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn out_of_a_pipe_come_plain_lines_a_table_and_the_true_causes() {
    let run = Place::new().run(&["doctor", "--budget", "1s"]);
    run.expect(0);
    let text = &run.stdout;
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    assert!(text.starts_with("no configuration given: the embedded fleet"), "{text}");
    assert!(text.ends_with("\nall 5 diagnoses are the planted ones\n"), "{text}");
    for line in [
        "\n4 of 5 came up, 3 of 5 left cleanly\n",
        "\n  refused: unreachable: Connection refused (os error 111)\n",
        "\n  delete-hangs: its DELETE was not answered in time\n",
        "\n  stubborn-child: it had to be killed\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    for lie in ["cancelled", "channel closed"] {
        assert!(!text.to_lowercase().contains(lie), "{lie:?} is in:\n{text}");
    }
}

#[test]
fn a_diagnosis_that_was_not_planted_is_status_1_and_named_in_the_last_line() {
    // In one millisecond no server comes up.
    let place = Place::new();
    let args = ["doctor", "--budget", "2s", "--connect-timeout", "1ms"];
    let run = place.run(&args);
    run.expect(1);
    let last = run.stdout.trim_end().lines().last().expect("a line");
    // The refused port may still be diagnosed correctly, because it can be faster than one millisecond.
    assert!(last.contains(" of 5 wrong: healthy-http, healthy-stdio, "), "{}", run.stdout);
    assert!(last.ends_with("delete-hangs, stubborn-child"), "{}", run.stdout);
    assert!(
        run.stdout.contains("  healthy-stdio: outcome: planted up, found timed out"),
        "{}",
        run.stdout
    );

    let run = place.run(&[&args[..], &["--json"]].concat());
    run.expect(1);
    assert_eq!(run.report()["version"], 1);
    assert!(run.stderr.contains("healthy-stdio: outcome: planted up"), "{}", run.stderr);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn out_of_a_pipe_every_line_fits_eighty_columns_or_what_columns_says() {
    let place = Place::new();
    for (columns, width) in [(None, 80), (Some("60"), 60), (Some("200"), 200), (Some("wide"), 80)] {
        let columns: Vec<_> = columns.map(|columns| ("COLUMNS", columns)).into_iter().collect();
        let run = place.start_with(&["doctor", "--budget", "500ms"], &columns).finish();
        run.expect(0);
        let widest = run.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width), "{widest:?}\n{}", run.stdout);
        // The row shows the facts for which there is room.
        let one_row = run.stdout.lines().any(|line| {
            line.starts_with(" stubborn-child ")
                && line.contains("2026-07-28")
                && line.contains("SIGKILL")
        });
        assert_eq!(one_row, width == 200, "{}", run.stdout);
    }
}
