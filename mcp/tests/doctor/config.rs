//! The configurations that are accepted and refused, and that a refusal starts no server.

use serde_json::{Value, json};

use super::harness::{Place, server, stdio};

/// A server that creates the file `started` when it is started.
fn marking(place: &Place) -> Value {
    json!({"command": "touch", "args": [place.file("started").display().to_string()]})
}

#[test]
fn a_configuration_in_which_all_is_well_ends_with_status_0() {
    let place = Place::new();
    let (run, report) =
        place.examine(&[("one", stdio(&[])), ("two", stdio(&["--eras", "legacy"]))], &[]);
    run.expect(0);
    assert_eq!(run.stderr, "");
    assert_eq!(report["clean"], true);
    assert_eq!(server(&report, "one")["era"], "2026-07-28");
    assert_eq!(server(&report, "two")["era"], "2025-11-25");
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_wrong_entry_is_refused_before_the_others_are_started() {
    let place = Place::new();
    for (entry, word) in [
        (json!({"command": "x", "url": "http://127.0.0.1/"}), "both"),
        (json!({}), "neither"),
        (json!({"command": "x", "args": [1]}), "args[0]"),
        (json!({"url": "nowhere"}), "nowhere"),
    ] {
        let config = place.config(&[("good", marking(&place)), ("wrong", entry)]);
        for run in [
            place.run(&["doctor", &config, "--json"]),
            place.run(&["call", &config, "good/echo", "{}"]),
        ] {
            run.expect_refused(&["\"wrong\"", word]);
        }
        assert!(!place.file("started").exists());
    }
}

#[test]
fn a_configuration_without_servers_is_refused() {
    let place = Place::new();
    for text in ["{}", r#"{"mcpServers": {}}"#, "", "[]"] {
        let config = place.config_text(text);
        place.run(&["doctor", &config]).expect_refused(&["servers.json"]);
    }
    let missing = place.file("missing.json").display().to_string();
    place.run(&["doctor", &missing]).expect_refused(&["missing.json", "No such file"]);
}

#[test]
fn a_wrong_command_line_is_refused() {
    let place = Place::new();
    let config = place.config(&[("good", marking(&place))]);
    for args in [
        vec!["doctor", &config, "--fail-fast", "--best-effort"],
        vec!["doctor", &config, "--budget", "5"],
        vec!["doctor", &config, "--eof-grace", "soon"],
        vec!["doctor", &config, "--unheard-of"],
        vec!["heal", &config],
        vec![],
    ] {
        place.run(&args).expect_refused(&[]);
    }
    assert!(!place.file("started").exists());
}

#[test]
fn unknown_keys_are_warned_of_on_stderr() {
    let place = Place::new();
    let mut entry = stdio(&[]);
    entry["autoApprove"] = json!([]);
    let (run, report) = place.examine(&[("one", entry)], &[]);
    run.expect(0);
    assert_eq!(report["clean"], true);
    assert_eq!(
        run.stderr,
        "moored-mcp: warning: server \"one\": unknown key \"autoApprove\" is ignored\n"
    );
}

#[test]
fn of_a_name_that_is_there_twice_the_later_one_is_not_started() {
    let place = Place::new();
    let (run, report) =
        place.examine(&[("a", stdio(&[])), ("b", stdio(&[])), ("a", marking(&place))], &[]);
    run.expect(1);
    let servers = report["servers"].as_array().expect("a list");
    let seen: Vec<(&str, &str)> = servers
        .iter()
        .filter_map(|s| Some((s["name"].as_str()?, s["outcome"].as_str()?)))
        .collect();
    assert_eq!(seen, [("a", "ok"), ("b", "ok"), ("a", "duplicate_name")]);
    assert_eq!(servers[2]["connect_ms"], Value::Null);
    assert_eq!(servers[2]["leave"]["clean"], true);
    assert!(!place.file("started").exists());
}

#[test]
fn a_configuration_in_yaml_with_variables_is_examined_and_called() {
    let place = Place::new();
    let entry = stdio(&[]);
    let text = format!(
        "mcp_servers:\n  one:\n    transport: stdio\n    command: ${{env:SERVER}}\n    args: {}\n    env: {{TOKEN: os.environ/TOKEN}}\n  off:\n    command: touch\n    args: ['{}']\n    disabled: true\n",
        entry["args"],
        place.file("started").display()
    );
    let config = place.config_text(&text);
    place.run(&["doctor", &config]).expect_refused(&["servers.json:4", "SERVER", "\"one\""]);
    let server = entry["command"].as_str().expect("a command");
    let variables = [("SERVER", server), ("TOKEN", "t")];
    let run = place.start_with(&["doctor", &config, "--json"], &variables).finish();
    run.expect(0);
    assert!(run.stderr.contains("\"off\": it is switched off"), "{}", run.stderr);
    assert!(!place.file("started").exists());
    place
        .start_with(&["call", &config, "one/echo", r#"{"message": "ahoy"}"#], &variables)
        .finish()
        .expect(0);
}

#[test]
fn env_and_cwd_reach_the_child() {
    let place = Place::new();
    let script = "printf '%s %s\\n' \"$GREETING\" \"$PWD\" >&2; exit 3";
    let cwd = place.file("").display().to_string();
    let entry =
        json!({"command": "sh", "args": ["-c", script], "env": {"GREETING": "ahoy"}, "cwd": cwd});
    let (run, report) = place.examine(&[("sh", entry)], &[]);
    run.expect(1);
    let tail = server(&report, "sh")["error"]["stderr_tail"].as_str().expect("it spoke").to_owned();
    assert!(tail.starts_with("ahoy /"), "{tail}");
    assert!(tail.trim_end().ends_with(cwd.trim_end_matches('/')), "{tail} {cwd}");
}
