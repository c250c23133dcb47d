//! Children that fail while a session is being set up.

use std::time::Duration;

use moored_mcp::{ExitStatusReport, Outcome, ServerParams, SessionGroup, StdioParams, Transport};

use crate::support::{brisk, brisk_group, fleet_server, shell, within_limit};

#[tokio::test]
async fn a_child_that_exits_with_7_is_reported_with_its_status_and_its_last_words() {
    within_limit(async {
        let group = brisk_group();
        let params = shell("dead", "echo first line >&2; echo the key is missing >&2; exit 7");
        let error = group.connect(params).await.expect_err("it exits");
        assert_eq!(error.outcome(), Outcome::Exited);
        assert_eq!(error.report().exit_status, Some(ExitStatusReport::Code(7)));
        assert_eq!(error.report().stderr_tail.as_deref(), Some("first line\nthe key is missing\n"));
        assert!(error.to_string().contains("status 7"), "{error}");
        let report = group.close().await;
        assert_eq!(report.servers[0].leave.exit_status, Some(ExitStatusReport::Code(7)));
        assert!(report.clean, "{report:?}");
        assert!(!report.all_well());
    })
    .await;
}

/// A published server tells its cause in a request whose method no protocol has.
#[tokio::test]
async fn a_child_that_tells_its_cause_in_a_message_and_exits_is_reported_with_it() {
    within_limit(async {
        let cause = r#"{"level":"error","data":"no key, given '"$API_KEY"'"}"#;
        for (head, what) in [
            (r#""id":1,"method":"log""#, r#"the request "log""#),
            (r#""method":"log""#, r#"the notification "log""#),
            (r#""method":"notifications/message""#, "a log message"),
        ] {
            for reads in ["", "read line; "] {
                let said = format!(r#"{{"jsonrpc":"2.0",{head},"params":{cause}}}"#);
                let mut params = shell("dead", &format!("{reads}echo '{said}'; exit 7"));
                let Transport::Stdio(stdio) = &mut params.transport else { panic!("a child") };
                stdio.env.insert("API_KEY".into(), "sk-123456".into());
                let group = brisk_group();
                let error = group.connect(params).await.expect_err("it exits");
                assert_eq!(error.outcome(), Outcome::Exited);
                let report = error.report();
                assert_eq!(report.exit_status, Some(ExitStatusReport::Code(7)));
                let [exited, said] = &report.chain[..] else { panic!("{report:?}") };
                assert!(exited.contains("status 7"), "{exited}");
                assert!(said.starts_with(&format!("its last message was {what}: ")), "{said}");
                assert!(said.contains("no key, given (hidden)"), "{said}");
                let all = format!("{error:?} {:?}", group.close().await);
                assert!(!all.contains("sk-123456"), "{all}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_dies_of_a_signal_is_reported_with_it_and_is_not_clean() {
    within_limit(async {
        let group = brisk_group();
        let error = group.connect(shell("shot", "kill -9 $$")).await.expect_err("it dies");
        assert_eq!(error.outcome(), Outcome::Exited);
        assert_eq!(error.report().exit_status, Some(ExitStatusReport::Signal(9)));
        let report = group.close().await;
        assert!(!report.clean, "{report:?}");
        assert!(report.servers[0].leave.signals.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_a_failed_spawn() {
    within_limit(async {
        let group = brisk_group();
        let params = ServerParams::stdio("none", StdioParams::new("moored-mcp-no-such-program"));
        let error = group.connect(params).await.expect_err("no such program");
        assert_eq!(error.outcome(), Outcome::SpawnFailed);
        assert!(error.to_string().contains("moored-mcp-no-such-program"), "{error}");
        let last = error.report().chain.last().expect("a chain");
        assert_eq!(last, "No such file or directory (os error 2)");
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_not_executable_is_a_failed_spawn() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path");
        let params = ServerParams::stdio("text", StdioParams::new(path));
        let error = brisk_group().connect(params).await.expect_err("not executable");
        assert_eq!(error.outcome(), Outcome::SpawnFailed);
        let last = error.report().chain.last().expect("a chain");
        assert_eq!(last, "Permission denied (os error 13)");
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    within_limit(async {
        let mut params = StdioParams::new("sh");
        params.cwd = Some("/no/such/directory".into());
        let error = brisk_group()
            .connect(ServerParams::stdio("lost", params))
            .await
            .expect_err("no directory");
        assert_eq!(error.outcome(), Outcome::SpawnFailed);
        assert!(error.to_string().contains("/no/such/directory"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_place_that_is_no_directory_or_not_permitted_is_named_with_the_cause() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let folder = tempfile::tempdir().expect("a folder");
        let shut = folder.path().join("shut");
        std::fs::create_dir(&shut).expect("a folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode;
        std::fs::set_permissions(&shut, mode(0)).expect("its mode");
        // The superuser may enter every directory.
        let is_shut = std::fs::read_dir(&shut).is_err();
        for (place, cause, fails) in [
            (file.path(), "Not a directory (os error 20)", true),
            (&*shut, "Permission denied (os error 13)", is_shut),
        ] {
            let mut params = StdioParams::new("sh");
            params.args = vec!["-c".into(), "exit 7".into()];
            params.cwd = Some(place.into());
            let error = brisk_group().connect(ServerParams::stdio("lost", params)).await;
            let error = error.expect_err("it is not there, or it exits");
            if fails {
                assert_eq!(error.outcome(), Outcome::SpawnFailed, "{error}");
                assert!(error.to_string().contains(&place.display().to_string()), "{error}");
                assert_eq!(error.report().chain.last().map(String::as_str), Some(cause));
            } else {
                assert_eq!(error.outcome(), Outcome::Exited, "{error}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_banner_before_the_first_message_is_tolerated_and_told() {
    within_limit(async {
        let group = brisk_group();
        let params = fleet_server("chatty", &["--banner", "Welcome to the server!"]);
        let info = group.connect(params).await.expect("it comes up");
        assert!(info.warnings.iter().any(|it| it.contains("Welcome")), "{info:?}");
        assert!(info.tools > 0);
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_silent_child_times_out_and_is_gone_afterwards() {
    within_limit(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path");
        let group = SessionGroup::start(brisk().connect_timeout(Duration::from_millis(1_200)));
        let params = fleet_server("mute", &["--silent", "--pid-file", path]);
        let error = group.connect(params).await.expect_err("no answer");
        assert_eq!(error.outcome(), Outcome::TimedOut);
        assert!(error.to_string().contains("initialize"), "{error}");
        for pid in crate::support::pids(file.path()) {
            assert!(!crate::support::exists(pid), "{pid} is still there");
        }
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_child_does_not_inherit_what_is_none_of_its_business() {
    within_limit(async {
        // Any variable of this process that is not passed on to a server; a test runner sets some.
        let plain =
            |name: &String| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let private = std::env::vars()
            .map(|(name, _)| name)
            .filter(plain)
            .find(|name| {
                !StdioParams::inherited(name)
                    && !matches!(name.as_str(), "_" | "PWD" | "OLDPWD" | "SHLVL")
            })
            .unwrap_or_else(|| "CARGO".into());
        let script = format!("test -z \"${private}\" && test -n \"$PATH\" && exit 3; exit 4");
        let error = brisk_group().connect(shell("env", &script)).await.expect_err("it exits");
        assert_eq!(error.report().exit_status, Some(ExitStatusReport::Code(3)));
    })
    .await;
}
