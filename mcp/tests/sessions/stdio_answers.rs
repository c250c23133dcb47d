//! Answers over a pipe that are broken, late, or the last thing a child says.

use std::time::{Duration, Instant};

use moored_mcp::{CallError, ErrorReport, ExitStatusReport, GroupOptions, Outcome, SessionGroup};

use crate::support::{brisk_group, echo, shell, shell_server, shell_server_with, within_limit};

/// The failure of a call to a server that runs `on_call`, and the duration of the call.
async fn failure(on_call: &str) -> (ErrorReport, Duration) {
    let group = brisk_group();
    group.connect(shell_server("s", on_call)).await.expect("it comes up");
    let began = Instant::now();
    let result = echo(&group, "s").await;
    let took = began.elapsed();
    group.close().await;
    match result {
        Err(CallError::Failed { report, .. } | CallError::ServerGone { report, .. }) => {
            (*report, took)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_a_child_gives_before_it_exits_is_delivered() {
    within_limit(async {
        for end in [
            "say '\"result\":{\"content\":[]}'; exit 0",
            "say '\"result\":{\"content\":[]}'; exit 1",
            // The answer has no line break at its end.
            "printf '{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"content\":[]}}' \"$id\"; exit 0",
        ] {
            let rounds = (0..12).map(|_| async {
                let group = brisk_group();
                group.connect(shell_server("s", end)).await.expect("it comes up");
                let answer = echo(&group, "s").await;
                assert!(answer.is_ok(), "{end}: {answer:?}");
                group.close().await;
            });
            futures_util::future::join_all(rounds).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_a_child_gives_before_it_exits_is_the_cause() {
    within_limit(async {
        let refuse = r#"*'"method":"initialize"'*) say '"error":{"code":-32000,"message":"no licence"}'; exit 1 ;;"#;
        for _ in 0..8 {
            let group = brisk_group();
            let error = group.connect(shell_server_with("s", refuse, ":")).await.expect_err("no");
            assert!(error.to_string().contains("no licence"), "{error}");
            let report = group.close().await;
            assert_eq!(report.servers[0].leave.exit_status, Some(ExitStatusReport::Code(1)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_exits_without_an_answer_is_the_cause_though_its_heir_holds_the_pipe() {
    within_limit(async {
        let (report, took) = failure("sleep 20 & exit 3").await;
        assert!(report.message.contains("exited with status 3"), "{report:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_broken_answer_fails_its_call_at_once_and_says_why() {
    within_limit(async {
        for (on_call, why) in [
            (r#"printf '{"id":%s,"result":{}}\n' "$id""#, r#"it has no "jsonrpc""#),
            (
                r#"printf '{"jsonrpc":"2.0","id":%s,"error":null}\n' "$id""#,
                r#"its "error" is null"#,
            ),
            (
                r#"printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[\n' "$id""#,
                "EOF while parsing",
            ),
            (r#"printf '{"jsonrpc":"2.0","id":%s}\n' "$id""#, "neither"),
        ] {
            let (report, took) = failure(on_call).await;
            assert!(
                report.message.starts_with("the answer to tools/call cannot be read: "),
                "{report:?}"
            );
            assert!(report.message.contains(why), "{report:?}");
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_in_a_batch_or_behind_an_answer_for_nobody_is_delivered() {
    within_limit(async {
        let answer = r#"{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}"#;
        for on_call in [
            format!(r#"printf '[{answer}]\n' "$id""#),
            format!(
                r#"printf '[{{"jsonrpc":"2.0","method":"notifications/x"}},{answer}]\n' "$id""#
            ),
            format!(r#"printf '{{"jsonrpc":"2.0","id":777,"result":{{}}}}\n{answer}\n' "$id""#),
        ] {
            let group = brisk_group();
            group.connect(shell_server("s", &on_call)).await.expect("it comes up");
            let answer = echo(&group, "s").await;
            assert!(answer.is_ok(), "{on_call}: {answer:?}");
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_on_a_line_beyond_the_limit_fails_its_call_at_once() {
    within_limit(async {
        let on_call = r#"printf '{"result":{"text":"'; head -c 17000000 /dev/zero | tr '\0' x; printf '"},"jsonrpc":"2.0","id":%s}\n' "$id""#;
        let (report, took) = failure(on_call).await;
        assert!(report.message.contains("its line has more than 16777216 bytes"), "{report:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn text_that_is_not_unicode_is_delivered_and_told() {
    within_limit(async {
        for text in [r#"a\377b"#, r#"a\\ud800b"#] {
            let group = brisk_group();
            let on_call = format!(
                r#"printf '\357\273\277{{"jsonrpc":"2.0","id":%s,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}\r\n' "$id""#
            );
            group.connect(shell_server("s", &on_call)).await.expect("it comes up");
            let answer = echo(&group, "s").await.expect("an answer");
            assert_eq!(answer["content"][0]["text"], "a\u{fffd}b");
            let report = group.close().await;
            let told = report.servers[0].warnings.join("\n");
            assert!(told.contains("U+FFFD"), "{told}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_for_somebody_else_before_initialize_is_noted_and_not_fatal() {
    within_limit(async {
        let before = r#"*'"method":"initialize"'*) printf '{"jsonrpc":"2.0","id":4711,"error":{"code":-1,"message":"who?"}}\n'
            say '"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"sh","version":"1"}}' ;;"#;
        let group = brisk_group();
        let info = group.connect(shell_server_with("s", before, ":")).await.expect("it comes up");
        assert!(info.warnings.iter().any(|it| it.contains("4711") && it.contains("who?")), "{info:?}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_initialize_without_a_field_names_it() {
    within_limit(async {
        let before = r#"*'"method":"initialize"'*) say '"result":{"protocolVersion":"2025-11-25","capabilities":{}}' ;;"#;
        let error = brisk_group().connect(shell_server_with("s", before, ":")).await.expect_err("no");
        assert_eq!(error.outcome(), Outcome::ProtocolError);
        assert!(error.to_string().contains("it has no \"serverInfo\""), "{error}");
        assert!(!error.to_string().contains("CustomResult"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_data_of_an_error_is_kept() {
    within_limit(async {
        let group = brisk_group();
        let on_call = r#"say '"error":{"code":-32602,"message":"bad","data":{"field":"x"}}'"#;
        group.connect(shell_server("s", on_call)).await.expect("it comes up");
        let error = echo(&group, "s").await.expect_err("rejected");
        assert!(error.to_string().ends_with(r#"bad (code -32602): {"field":"x"}"#), "{error}");
        let CallError::Rejected { data: Some(data), .. } = error else { panic!("{error:?}") };
        assert_eq!(data["field"], "x");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_call_to_a_session_that_was_left_is_told_so() {
    within_limit(async {
        let group = brisk_group();
        group.connect(shell_server("s", ":")).await.expect("it comes up");
        group.disconnect("s").await.expect("it was there");
        let error = echo(&group, "s").await.expect_err("left");
        assert!(matches!(error, CallError::Left(_)), "{error:?}");
        assert_eq!(error.to_string(), "server \"s\" was left and is no longer connected");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_child_that_closes_its_output_during_a_call_is_told_so() {
    within_limit(async {
        let (report, took) = failure("exec >&-; sleep 5").await;
        assert!(report.message.contains("closed its standard output"), "{report:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_call_has_a_limit_where_nobody_sets_one() {
    assert!(GroupOptions::default().call_timeout.is_some());
    within_limit(async {
        let limit = Duration::from_millis(200);
        let group = SessionGroup::start(crate::support::brisk().call_timeout(Some(limit)));
        group.connect(shell_server("s", ":")).await.expect("it comes up");
        let error = echo(&group, "s").await.expect_err("no answer");
        assert!(matches!(error, CallError::TimedOut { .. }), "{error:?}");
        group.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_line_of_standard_error_that_names_the_error_is_kept() {
    within_limit(async {
        let script = "echo node:internal >&2; echo \"Error: Cannot find module 'x'\" >&2; \
            i=0; while [ $i -lt 200 ]; do echo \"    at Module._load (node:internal/x:$i)\" >&2; i=$((i+1)); done; exit 1";
        let error = brisk_group().connect(shell("s", script)).await.expect_err("it exits");
        let report = error.report();
        assert_eq!(report.stderr_error.as_deref(), Some("Error: Cannot find module 'x'"));
        assert!(!report.stderr_tail.as_deref().unwrap_or_default().contains("Cannot find"));
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_an_id_that_was_never_asked_is_named() {
    within_limit(async {
        for (id, named) in [
            ("4711", "the id 4711, which was never asked"),
            ("\\\"x\\\"", "the id \"x\", which was never asked"),
        ] {
            let on_call = format!(
                r#"printf "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[]}}}}\n""#
            );
            let limit = Duration::from_millis(300);
            let group = SessionGroup::start(crate::support::brisk().call_timeout(Some(limit)));
            group.connect(shell_server("s", &on_call)).await.expect("it comes up");
            let error = echo(&group, "s").await.expect_err("no answer");
            assert!(matches!(error, CallError::TimedOut { .. }), "{error:?}");
            let warnings = &group.sessions()[0].warnings;
            assert!(warnings.iter().any(|it| it.contains(named)), "{warnings:?}");
            group.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_the_text_of_the_id_is_the_answer() {
    within_limit(async {
        let on_call = r#"printf '{"jsonrpc":"2.0","id":"%s","result":{"content":[]}}\n' "$id""#;
        let group = brisk_group();
        group.connect(shell_server("s", on_call)).await.expect("it comes up");
        echo(&group, "s").await.expect("an answer");
        let report = group.close().await;
        assert!(report.all_well() && report.servers[0].warnings.is_empty(), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn content_of_an_unknown_type_is_delivered_as_it_came() {
    within_limit(async {
        let on_call = r#"say '"result":{"content":[{"type":"hologram","x":[1]}]}'"#;
        let group = brisk_group();
        group.connect(shell_server("s", on_call)).await.expect("it comes up");
        let answer = echo(&group, "s").await.expect("an answer");
        assert_eq!(answer["content"][0]["x"][0], 1);
        assert!(group.close().await.all_well());
    })
    .await;
}

/// Some servers answer notifications too, with an empty result that has no id.
#[tokio::test]
async fn a_result_to_a_notification_is_not_the_answer_to_the_request_after_it() {
    within_limit(async {
        for id in [r#""id":null,"#, ""] {
            let group = brisk_group();
            let empty = format!(r#"printf '{{"jsonrpc":"2.0",{id}"result":{{}}}}\n'"#);
            // The request comes while the notification is being answered.
            let answers = format!(r#"*'"method":"notifications/'*) sleep 0.05; {empty} ;;"#);
            let server = shell_server_with("s", &answers, r#"say '"result":{"content":[]}'"#);
            let info = group.connect(server).await.expect("it comes up");
            assert_eq!((info.tools, info.list_error), (1, None));
            let told = |it: &String| it.starts_with("an answer to nothing");
            assert!(info.warnings.iter().any(told), "{:?}", info.warnings);
            echo(&group, "s").await.expect("an answer");
            // A server that has no other answer.
            let lists = format!(r#"*'"method":"tools/list"'*) {empty} ;;"#);
            let server = shell_server_with("mute", &lists, ":");
            let info = group.connect(server).await.expect("it comes up");
            let error = info.list_error.expect("no list").chain.join(": ");
            assert!(error.contains("the answer to tools/list cannot be read"), "{error}");
            group.close().await;
        }
    })
    .await;
}

/// A terminal between the two repeats what a server is sent.
#[tokio::test]
async fn a_server_behind_a_terminal_that_repeats_its_input_comes_up() {
    within_limit(async {
        let group = brisk_group();
        let repeats = r#"
    *'"method":"server/discover"'*) printf '%s\r\n' "$line"; say '"error":{"code":-32601,"message":"no"}' ;;
    *'"method":"tools/list"'*)
        printf '%s\r\n' "$line"; say '"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}' ;;
"#;
        let server = shell_server_with("s", repeats, r#"say '"result":{"content":[]}'"#);
        let info = group.connect(server).await.expect("it comes up");
        assert_eq!((info.tools, info.list_error), (1, None));
        let told = |it: &String| it.contains("our own tools/list, which comes back");
        assert!(info.warnings.iter().any(told), "{:?}", info.warnings);
        echo(&group, "s").await.expect("an answer");
        group.close().await;
    })
    .await;
}

/// Some servers write a log to their standard output, and it shows the messages.
#[tokio::test]
async fn a_line_of_a_log_that_shows_an_answer_is_not_the_answer() {
    within_limit(async {
        let answer = r#"{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}"#;
        for (before, lines) in [("DEBUG sending ", 1), ("[debug] sending ", 2)] {
            let log = format!(r#"printf '{before}{answer}\n' "$id"; "#).repeat(lines);
            let group = brisk_group();
            let on_call = format!(r#"{log} sleep 0.1; printf '{answer}\n' "$id""#);
            group.connect(shell_server("s", &on_call)).await.expect("it comes up");
            echo(&group, "s").await.expect("the answer behind the log");
            let report = group.close().await;
            let told = |it: &&String| it.starts_with(&format!("not a message: {before}"));
            let told = report.servers[0].warnings.iter().filter(told).count();
            assert_eq!(told, 1, "{:?}", report.servers[0].warnings);
            // Nothing else comes: it was the answer, behind text without a line break.
            let (report, took) = failure(&log).await;
            let text = "the answer to tools/call cannot be read: expected";
            assert!(report.message.starts_with(text), "{report:?}");
            assert!(took < Duration::from_secs(3), "{took:?}");
        }
        // At the end of the pipe at once, and before the end itself is told.
        let (report, took) = failure(&format!(r#"printf '> {answer}' "$id"; exit 0"#)).await;
        assert!(report.message.contains("cannot be read: expected"), "{report:?}");
        assert!(took < Duration::from_millis(900), "{took:?}");
    })
    .await;
}

/// Some servers refuse notifications too, with an error that has no id.
#[tokio::test]
async fn an_error_to_a_notification_is_not_the_answer_to_the_request_after_it() {
    within_limit(async {
        let group = brisk_group();
        let refused = |what: &str| {
            format!(r#"printf '{{"jsonrpc":"2.0","id":null,"error":{{"code":-32601,"message":"{what}"}}}}\n'"#)
        };
        let refuses = format!(r#"*'"method":"notifications/'*) {} ;;"#, refused("no such method"));
        let server = shell_server_with("s", &refuses, r#"say '"result":{"content":[]}'"#);
        let info = group.connect(server).await.expect("it comes up");
        assert_eq!((info.tools, info.list_error), (1, None));
        assert!(info.warnings.iter().any(|it| it.contains("no such method")), "{:?}", info.warnings);
        echo(&group, "s").await.expect("an answer");
        // A server that has no other answer, with and without an error to the notification.
        for (name, refuses) in [("once", String::new()), ("twice", refuses)] {
            let lists = format!(r#"*'"method":"tools/list"'*) {} ;;"#, refused("no list"));
            let server = shell_server_with(name, &format!("{refuses} {lists}"), ":");
            let info = group.connect(server).await.expect("it comes up");
            let error = info.list_error.expect("no list");
            assert!(error.chain.join(": ").contains("no list"), "{error:?}");
        }
        group.close().await;
    })
    .await;
}
