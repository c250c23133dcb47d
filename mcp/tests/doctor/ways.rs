//! The ways to name the servers for the doctor, and the forms of its output.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{BINARY, Place, at, server, stdio};
use super::stub::Stub;

/// Writes a configuration of these servers into a file of its own.
fn file(place: &Place, name: &str, servers: &Value) -> String {
    let path = place.file(name);
    std::fs::write(&path, json!({"mcpServers": servers}).to_string()).expect("it is written");
    path.display().to_string()
}

#[test]
fn several_configurations_are_examined_together_and_equal_names_told_apart() {
    let (place, stub) = (Place::new(), Stub::healthy());
    let one = file(&place, "one.json", &json!({"web": at(stub.url()), "files": stdio(&[])}));
    let two =
        file(&place, "two.json", &json!({"files": stdio(&[]), "odd": {"command": "true", "x": 1}}));
    let run = place.run(&["doctor", "--json", &one, &two]);
    run.expect(1);
    let report = run.report();
    for name in ["web", "one.json:files", "two.json:files"] {
        assert_eq!(server(&report, name)["outcome"], "ok", "{report:#}");
    }
    assert_eq!(server(&report, "odd")["outcome"], "exited");
    assert!(run.stderr.contains("two.json: server \"odd\": "), "{}", run.stderr);
    // A mistake in any of them ends the run before anything is started.
    let bad = file(&place, "bad.json", &json!({"x": {}}));
    place.run(&["doctor", &one, &bad]).expect_refused(&["bad.json"]);
    assert_eq!(stub.count("initialize"), 1);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn one_server_is_examined_and_called_by_its_command_without_a_configuration() {
    let place = Place::new();
    let command = ["--command", BINARY, "fleet-server", "--life", "90s", "--exit-code", "3"];
    let run = place.run(&[&["doctor", "--json"], &command[..]].concat());
    run.expect(0);
    let report = run.report();
    assert_eq!(server(&report, "server")["leave"]["exit_status"], json!({"code": 3}));
    let call = ["call", "echo", r#"{"message": "ahoy"}"#];
    let run = place.run(&[&call[..], &command[..]].concat());
    run.expect(0);
    assert_eq!(run.result()["content"][0]["text"], "ahoy");
    place.run(&["doctor", "--command"]).expect(2);
    for words in [&["doctor"][..], &["call", "echo", "{}"]] {
        let run = place.run(&[words, &["--command", "", "x"]].concat());
        run.expect(2);
        assert!(run.stderr.contains("--command is empty"), "{}", run.stderr);
    }
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn the_exit_status_of_a_server_is_known_even_if_our_parent_ignores_its_children() {
    let place = Place::new();
    let mut shell = std::process::Command::new("sh");
    let doctor = format!("trap '' CHLD; exec {BINARY} doctor --json --command sh -c 'exit 3'");
    shell.args(["-c", &doctor]);
    let run = place.start_program(shell, &[]).finish();
    run.expect(1);
    let report = run.report();
    assert_eq!(server(&report, "server")["error"]["exit_status"], json!({"code": 3}));
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_watch_shows_a_server_that_is_lost_and_leaves_on_a_signal() {
    let (place, stub) = (Place::new(), Stub::healthy());
    let go = place.file("go").display().to_string();
    // It serves until the file is there.
    let script = format!(
        "exec 3<&0; {BINARY} fleet-server --life 90s <&3 & while ! test -e {go}; do sleep 0.02; done; \
         kill $!; exit 9"
    );
    let servers =
        [("web", at(stub.url())), ("brief", json!({"command": "sh", "args": ["-c", script]}))];
    let config = place.config(&servers);
    let mut running = place.start(&["doctor", &config, "--watch", "--eof-grace", "200ms"]);
    for server in ["brief", "web"] {
        if !running.said(&[server, " up,"]) {
            running.line_with(&[server, " up,"]);
        }
    }
    std::fs::write(&go, "").expect("the file is written");
    running.line_with(&["brief", "lost", "status 9"]);
    // The other one stays until it is asked to leave.
    assert_eq!(stub.count("DELETE"), 0);
    running.signal(Signal::INT);
    let run = running.finish();
    run.expect(130);
    assert!(run.stdout.contains("DELETE ended the session"), "{}", run.stdout);
    assert_eq!(stub.count("DELETE"), 1);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_watch_leaves_when_nothing_reads_its_events_any_more() {
    let (place, stub) = (Place::new(), Stub::healthy());
    let config = place.config(&[("web", at(stub.url()))]);
    let mut pipeline = std::process::Command::new("sh");
    pipeline.args(["-c", &format!("{BINARY} doctor {config} --watch | head -n 1")]);
    place.start_program(pipeline, &[]).finish().expect(0);
    assert_eq!(stub.count("DELETE"), 1);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_watch_ends_by_itself_when_no_server_is_left() {
    let place = Place::new();
    let config = place.config(&[("dead", json!({"command": "sh", "args": ["-c", "exit 7"]}))]);
    let run = place.run(&["doctor", &config, "--watch", "--json"]);
    run.expect(1);
    // Only the report goes to stdout.
    assert_eq!(server(&run.report(), "dead")["outcome"], "exited");
    assert!(run.stderr.contains("dead  exited: "), "{}", run.stderr);
}

/// The names of the phases in one lane of a trace.
fn lane(trace: &Value, name: &str) -> Vec<String> {
    let events = trace.as_array().expect("a list");
    let named = |event: &&Value| event["name"] == "thread_name" && event["args"]["name"] == name;
    let tid =
        &events.iter().find(named).unwrap_or_else(|| panic!("no lane {name}: {trace}"))["tid"];
    let phases: Vec<&Value> =
        events.iter().filter(|event| event["ph"] == "X" && event["tid"] == *tid).collect();
    // One after another, without a gap.
    for pair in phases.windows(2) {
        let end =
            pair[0]["ts"].as_u64().expect("a time") + pair[0]["dur"].as_u64().expect("a time");
        assert_eq!(end, pair[1]["ts"].as_u64().expect("a time"), "{trace:#}");
    }
    phases.iter().map(|event| event["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_timeline_has_a_lane_for_each_server_and_its_phases_in_order() {
    let place = Place::new();
    let path = place.file("trace.json");
    let run = place.run(&[
        "doctor",
        "--json",
        "--budget",
        "1s",
        "--timeline",
        &path.display().to_string(),
    ]);
    run.expect(0);
    let trace = std::fs::read_to_string(&path).expect("the timeline is written");
    let trace: Value = serde_json::from_str(&trace).expect("it is JSON");
    let up = ["wait for a turn", "connect", "connected"];
    for (name, leave) in [
        ("healthy-http", &["leave: DELETE"][..]),
        ("healthy-stdio", &["leave: end of input"]),
        ("delete-hangs", &["leave: DELETE"]),
        ("stubborn-child", &["leave: end of input", "leave: SIGTERM", "leave: SIGKILL"]),
    ] {
        assert_eq!(lane(&trace, name), [&up, leave].concat());
    }
    assert_eq!(lane(&trace, "refused"), ["wait for a turn", "connect", "clean up"]);
}

#[test]
fn a_doctor_that_is_killed_leaves_a_timeline_that_can_be_read() {
    let (place, stub) = (Place::new(), Stub::healthy());
    let config = place.config(&[("web", at(stub.url()))]);
    let path = place.file("trace.json");
    let shown = path.display().to_string();
    let mut running = place.start(&["doctor", &config, "--watch", "--timeline", &shown]);
    running.line_with(&["web", "up"]);
    running.signal(Signal::KILL);
    let _killed = running.finish();
    // The format allows that the last bracket is missing.
    let trace = std::fs::read_to_string(&path).expect("the timeline is written") + "]";
    let trace: Value = serde_json::from_str(&trace).expect("it is JSON");
    assert_eq!(lane(&trace, "web"), ["wait for a turn", "connect"]);
}

#[test]
fn a_timeline_that_cannot_be_written_is_refused_before_anything_is_started() {
    let run = Place::new().run(&["doctor", "--timeline", "/no/such/directory/trace.json"]);
    run.expect_refused(&["/no/such/directory/trace.json", "No such file or directory"]);
}

#[test]
fn completions_know_the_commands_of_a_person_and_no_others() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = Place::new().run(&["completions", shell]);
        run.expect(0);
        assert!(run.stdout.contains("doctor") && run.stdout.contains("timeline"), "{shell}");
    }
    Place::new().run(&["completions", "tcsh"]).expect(2);
}
