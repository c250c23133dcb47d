//! Children that are started again, by turns, or in an era that the configuration names.

use serde_json::{Value, json};

use super::harness::{Place, server, stdio};

/// A child that exits on `server/discover` and is a legacy server otherwise.
fn exits_on_discover() -> Value {
    let script = r#"
        while IFS= read -r line; do
            id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
            case "$line" in
                *'"server/discover"'*) exit 1 ;;
                *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"old","version":"1"}}}\n' "$id" ;;
            esac
        done"#;
    json!({"command": "sh", "args": ["-c", script]})
}

#[test]
fn a_child_that_exits_on_the_probe_is_started_again_and_the_report_says_so() {
    let place = Place::new();
    let mut known = exits_on_discover();
    known["era"] = json!("legacy");
    let servers = [("old", exits_on_discover()), ("known", known)];
    let (run, report) = place.examine(&servers, &[]);
    run.expect(0);
    let old = server(&report, "old");
    assert_eq!((&old["outcome"], &old["era"]), (&json!("ok"), &json!("2025-11-25")));
    assert_eq!(old["starts"], 2);
    let warnings = old["warnings"].to_string();
    assert!(warnings.contains("exited with status 1") && warnings.contains("started again"));
    let known = server(&report, "known");
    assert_eq!((&known["starts"], &known["warnings"]), (&json!(1), &json!([])));

    let text = place.run(&["doctor", &place.config(&servers)]);
    text.expect(0);
    assert!(text.stdout.contains("started 2 times"), "{}", text.stdout);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn one_at_a_time_children_wait_for_their_turn_and_the_wait_is_no_part_of_the_start() {
    let place = Place::new();
    let slow = |name| {
        let line = format!("sleep 1; exec {} fleet-server --life 90s", super::harness::BINARY);
        (name, json!({"command": "sh", "args": ["-c", line]}))
    };
    let servers = [slow("one"), slow("two"), slow("three")];
    // The limit is shorter than the three starts together.
    let (run, report) = place.examine(&servers, &["--starts", "1", "--connect-timeout", "2500ms"]);
    run.expect(0);
    let mut waits: Vec<u64> = ["one", "two", "three"]
        .map(|name| server(&report, name)["waited_ms"].as_u64().expect("a number"))
        .into();
    waits.sort_unstable();
    assert!(waits[0] < 900 && waits[1] >= 900 && waits[2] >= 1_900, "{waits:?}");
    assert!(report["connect_ms"].as_u64().is_some_and(|ms| ms >= 3_000), "{report:#}");
}

#[test]
fn a_probe_that_is_not_answered_is_given_up_at_its_limit() {
    let place = Place::new();
    let (run, report) = place.examine(
        &[("mute", stdio(&["--silent"]))],
        &["--discover-timeout", "200ms", "--connect-timeout", "1s"],
    );
    run.expect(1);
    let mute = server(&report, "mute");
    assert_eq!((&mute["outcome"], &mute["starts"]), (&json!("timed_out"), &json!(1)));
    let message = mute["error"]["message"].to_string();
    assert!(message.contains("server/discover was given up after 200ms"), "{message}");
}
