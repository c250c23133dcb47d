//! Streamable HTTP: the answers of the server, and the reports about them.

use serde_json::{Value, json};

use super::harness::{Place, at, cause, server};
use super::stub::{Answer, Stub};

fn examine(stub: &Stub, more: &[&str], status: i32) -> Value {
    let (run, report) = Place::new().examine(&[("web", at(stub.url()))], more);
    run.expect(status);
    server(&report, "web").clone()
}

#[test]
fn every_answer_to_the_delete_is_classified() {
    for (answer, delete, clean) in [
        (Answer::Status(200), "terminated", true),
        (Answer::Status(202), "terminated", true),
        (Answer::Status(204), "terminated", true),
        (Answer::Status(405), "not_supported", true),
        (Answer::Status(404), "already_gone", true),
        (Answer::Status(401), "failed", false),
        (Answer::Status(500), "failed", false),
        (Answer::Hang, "timed_out", false),
    ] {
        let stub = Stub::start("DELETE", answer);
        let web = examine(&stub, &["--budget", "1s"], if clean { 0 } else { 1 });
        assert_eq!(web["outcome"], "ok", "{answer:?}");
        assert_eq!(web["tools"], 1, "{answer:?}");
        assert_eq!(web["leave"]["delete"], delete, "{answer:?}");
        assert_eq!(web["leave"]["clean"], clean, "{answer:?}");
        let suppressed = web["leave"]["suppressed"].as_array().expect("a list");
        assert_eq!(suppressed.is_empty(), delete != "failed", "{answer:?}: {suppressed:?}");
        assert_eq!(stub.count("DELETE"), 1, "{answer:?}: one DELETE a session");
    }
}

#[test]
fn a_refusal_at_the_door_is_classified_by_its_status() {
    for (status, outcome) in [
        (401, "auth_required"),
        (403, "forbidden"),
        (500, "upstream_error"),
        (503, "upstream_error"),
    ] {
        let stub = Stub::start("initialize", Answer::Status(status));
        let web = examine(&stub, &[], 1);
        assert_eq!(web["outcome"], outcome, "{status}: {web:#}");
        let chain = web["error"]["chain"].to_string();
        assert!(chain.contains(&status.to_string()), "{status} is not in {chain}");
        assert_eq!(web["error"]["stderr_tail"], Value::Null);
    }
}

#[test]
fn a_handshake_that_fails_after_the_session_exists_still_ends_the_session() {
    let stub = Stub::start("notifications/initialized", Answer::Status(500));
    let web = examine(&stub, &[], 1);
    assert_eq!(web["outcome"], "upstream_error", "{web:#}");
    assert!(web["error"]["chain"].to_string().contains("500"), "{web:#}");
    assert_eq!(web["leave"]["delete"], "terminated");
    assert_eq!(stub.count("DELETE"), 1);
}

#[test]
fn a_server_that_accepts_and_never_answers_is_cut_off() {
    let stub = Stub::start("initialize", Answer::Hang);
    let web = examine(&stub, &["--connect-timeout", "600ms"], 1);
    assert_eq!(web["outcome"], "timed_out");
    assert_eq!(web["leave"]["delete"], "not_applicable", "no session id was received");
    assert_eq!(stub.count("notifications/cancelled"), 0, "initialize is not to be cancelled");
}

#[test]
fn a_refused_connection_ends_in_the_system_s_words() {
    // Bound and released: no server listens there now.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a loopback port")
        .port();
    let url = format!("http://127.0.0.1:{port}/mcp");
    let (run, report) = Place::new().examine(&[("gone", at(&url))], &[]);
    run.expect(1);
    let gone = server(&report, "gone");
    assert_eq!(gone["outcome"], "unreachable");
    assert_eq!(cause(gone), "Connection refused (os error 111)");
}

#[test]
fn a_proxy_that_is_not_there_is_named_as_the_proxy() {
    let place = Place::new();
    let config = place.config(&[("web", at("http://198.51.100.7/mcp"))]);
    // No server listens on port 1.
    let proxy = [("http_proxy", "http://127.0.0.1:1"), ("no_proxy", "")];
    let run = place.start_with(&["doctor", &config, "--json"], &proxy).finish();
    run.expect(1);
    let report = run.report();
    let web = server(&report, "web");
    assert_eq!(web["outcome"], "unreachable");
    let said = "cannot reach the proxy http://127.0.0.1:1 on the way to http://198.51.100.7/mcp";
    assert_eq!(web["error"]["message"], said);
    assert_eq!(cause(web), "Connection refused (os error 111)");
}

/// A proxy that answers every CONNECT with this status.
fn proxy_with(status: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|it| it == 1) {
                head.extend_from_slice(&byte);
            }
            let _gone = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

#[cfg(feature = "tls")]
#[test]
fn a_proxy_that_asks_for_authorization_is_named_with_its_status() {
    for (status, outcome, said) in [
        ("407 Proxy Authentication Required", "auth_required", "asks for authorization (HTTP 407)"),
        (
            "502 Bad Gateway",
            "unreachable",
            "cannot reach https://198.51.100.7/mcp through the proxy",
        ),
    ] {
        let (place, proxy) = (Place::new(), proxy_with(status));
        let config = place.config(&[("web", at("https://198.51.100.7/mcp"))]);
        let variables = [("https_proxy", proxy.as_str()), ("no_proxy", "")];
        let run = place.start_with(&["doctor", &config, "--json"], &variables).finish();
        run.expect(1);
        let report = run.report();
        let web = server(&report, "web");
        assert_eq!(web["outcome"], outcome, "{web}");
        let message = web["error"]["message"].as_str().expect("a message");
        assert!(message.contains(said) && message.contains(&proxy), "{message}");
    }
}

#[test]
fn no_proxy_for_everything_is_none_for_an_address_either() {
    for (name, list) in [("NO_PROXY", "*"), ("no_proxy", "example.org, *")] {
        let (place, stub) = (Place::new(), Stub::healthy());
        let config = place.config(&[("web", at(stub.url()))]);
        // No server listens on port 1.
        let variables = [("http_proxy", "http://127.0.0.1:1"), (name, list)];
        place.start_with(&["doctor", &config], &variables).finish().expect(0);
    }
}

#[test]
fn headers_of_the_configuration_are_no_part_of_the_output() {
    let stub = Stub::start("initialize", Answer::Status(401));
    let entry = json!({"url": stub.url(), "headers": {"Authorization": "Bearer s3cr3t"}});
    let (run, _) = Place::new().examine(&[("web", entry)], &[]);
    run.expect(1);
    assert!(!run.stdout.contains("s3cr3t") && !run.stderr.contains("s3cr3t"));
}

#[test]
fn several_sessions_of_one_address_are_each_ended() {
    let stub = Stub::healthy();
    let servers: Vec<(&str, Value)> =
        ["a", "b", "c", "d"].iter().map(|name| (*name, at(stub.url()))).collect();
    let (run, report) = Place::new().examine(&servers, &[]);
    run.expect(0);
    assert_eq!(report["servers"].as_array().map(Vec::len), Some(4));
    assert_eq!(stub.count("DELETE"), 4);
}

#[test]
fn a_probe_that_is_refused_with_older_revisions_falls_back_to_the_handshake() {
    let stub = Stub::start("server/discover", Answer::TooOld);
    let web = examine(&stub, &[], 0);
    assert_eq!((&web["outcome"], &web["era"]), (&json!("ok"), &json!("2025-11-25")));
    assert_eq!(stub.count("DELETE"), 1);
}

#[test]
fn where_the_budget_is_spent_no_delete_is_sent() {
    let stub = Stub::healthy();
    let web = examine(&stub, &["--budget", "0ms"], 1);
    assert_eq!(web["leave"]["delete"], "not_sent");
    assert_eq!(web["leave"]["clean"], false);
    assert_eq!(stub.count("DELETE"), 0);
}

#[test]
fn a_list_that_cannot_be_read_is_status_1_and_said_everywhere() {
    for status in [401, 500] {
        let stub = Stub::start("tools/list", Answer::Status(status));
        let place = Place::new();
        let (run, report) = place.examine(&[("web", at(stub.url()))], &[]);
        run.expect(1);
        let web = server(&report, "web");
        assert_eq!((&web["outcome"], &web["tools"]), (&json!("upstream_error"), &json!(0)));
        assert_eq!(web["era"], "2025-11-25");
        assert_eq!(web["error"]["message"], "tools/list cannot be read");
        assert!(cause(web).contains(&status.to_string()), "{web:#}");
        assert_eq!(web["leave"]["clean"], true, "{web:#}");
        let warning = web["warnings"][0].as_str().expect("a text");
        assert!(run.stderr.contains(warning), "{}", run.stderr);

        let run = place.run(&["doctor", &place.config(&[("web", at(stub.url()))])]);
        run.expect(1);
        assert!(run.stdout.contains(" upstream error (!) "), "{}", run.stdout);
        assert!(run.stdout.contains("  web: upstream error: "), "{}", run.stdout);

        let run = place.run(&["call", &place.config(&[("web", at(stub.url()))]), "web/echo", "{}"]);
        run.expect(1);
        assert!(run.stderr.contains("tools/list cannot be read"), "{}", run.stderr);
    }
}

#[test]
fn an_item_that_cannot_be_read_is_a_warning_and_status_0() {
    let stub = Stub::start("tools/list", Answer::OneBadTool);
    let place = Place::new();
    let (run, report) = place.examine(&[("web", at(stub.url()))], &[]);
    run.expect(0);
    let web = server(&report, "web");
    assert_eq!((&web["outcome"], &web["tools"]), (&json!("ok"), &json!(1)));
    let warning =
        "tools/list: tools[0] \"bad\" cannot be read and is left out: missing field `inputSchema`";
    assert_eq!(web["warnings"], json!([warning]));
    assert_eq!(run.stderr, format!("moored-mcp: warning: server \"web\": {warning}\n"));

    let config = place.config(&[("web", at(stub.url()))]);
    let run = place.run(&["doctor", &config]);
    run.expect(0);
    assert!(run.stdout.contains(" up (!) "), "{}", run.stdout);
    assert!(run.stdout.contains("tools[0] \"bad\""), "{}", run.stdout);
    place.run(&["call", &config, "web/echo", "{}"]).expect(0);
}

#[test]
fn one_server_needs_an_address_and_no_configuration() {
    let (stub, place) = (Stub::healthy(), Place::new());
    let run = place.run(&["doctor", "--json", "--url", stub.url()]);
    run.expect(0);
    assert_eq!(server(&run.report(), "server")["tools"], 1);
    for tool in ["echo", "server/echo"] {
        let run = place.run(&["call", tool, r#"{"message": "ahoy"}"#, "--url", stub.url()]);
        run.expect(0);
        assert_eq!(run.result()["content"][0]["text"], "ahoy");
    }
    place.run(&["call", "echo", "--url", stub.url()]).expect(2);
    place.run(&["call", "echo", "{}"]).expect_refused(&["CONFIG, TOOL and JSON"]);
    assert_eq!(stub.count("DELETE"), 3);
}
