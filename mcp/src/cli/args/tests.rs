//! The command lines that are understood, and the errors of others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use moored_mcp::{GroupOptions, Names, Policy};

use super::{Cli, Command, DoctorArgs};

fn doctor(words: &[&str]) -> Result<DoctorArgs, clap::Error> {
    let cli = Cli::try_parse_from(["moored-mcp", "doctor"].iter().chain(words))?;
    match cli.command {
        Command::Doctor(args) => Ok(args),
        other => panic!("expected doctor, got {other:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let args = doctor(&[]).expect("no argument is needed");
    assert_eq!(args.configs, Vec::<PathBuf>::new());
    assert!(!args.json);
    assert_eq!(args.limits.connect_timeout, Duration::from_secs(30));
    assert_eq!(args.limits.discover_timeout, Duration::from_secs(10));
    assert_eq!(args.limits.starts, None, "twice the processors");
    let mut options = args.limits.options();
    assert!(options.watchdog.take().is_some(), "the programs have one, the library does not");
    assert_eq!(options, GroupOptions::default().names(Names::slash()));
    assert_eq!(args.limits.budget, Duration::from_secs(5));
    assert_eq!(args.limits.eof_grace, Duration::from_secs(2));
    assert_eq!(args.limits.term_grace, Duration::from_secs(2));
    assert!(matches!(args.policy(), Policy::BestEffort));
}

#[test]
fn fail_fast_and_best_effort_exclude_each_other() {
    assert!(matches!(doctor(&["--fail-fast"]).expect("valid").policy(), Policy::FailFast));
    let both = doctor(&["--fail-fast", "--best-effort"]).expect_err("a contradiction");
    assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
    assert_eq!(both.exit_code(), 2);
}

#[test]
fn at_least_one_server_may_be_on_its_way_up() {
    assert_eq!(doctor(&["--starts", "1"]).expect("valid").limits.options().starts, 1);
    assert_eq!(doctor(&["--starts", "0"]).expect_err("none").exit_code(), 2);
}

#[test]
fn an_address_takes_the_place_of_a_configuration() {
    let call = |words: &[&str]| {
        let cli = Cli::try_parse_from(["moored-mcp", "call"].iter().chain(words));
        match cli.expect("the words are parsed").command {
            Command::Call(args) => args,
            other => panic!("expected call, got {other:?}"),
        }
    };
    let args = call(&["echo", "{}", "--url", "http://127.0.0.1:1/"]);
    assert_eq!(args.understood(), Ok((None, "echo", "{}")));
    let args = call(&["echo", "{}", "--command", "sh", "-c", "--url", "x"]);
    assert_eq!(args.understood(), Ok((None, "echo", "{}")));
    assert_eq!(args.typed.command, ["sh", "-c", "--url", "x"]);
    let args = call(&["c.json", "echo", "{}"]);
    assert_eq!(args.understood(), Ok((Some(Path::new("c.json")), "echo", "{}")));
    assert!(call(&["echo", "{}"]).understood().is_err());
    assert!(call(&["c.json", "echo", "{}", "--url", "http://127.0.0.1:1/"]).understood().is_err());
    assert!(doctor(&["c.json", "--url", "http://127.0.0.1:1/"]).is_err());
    assert!(doctor(&["c.json", "--command", "server"]).is_err());
    assert!(doctor(&["--url", "http://127.0.0.1:1/", "--command", "server"]).is_err());
    let args = doctor(&["--json", "--command", "server", "--json", "--", "-x"]).expect("valid");
    assert!(args.json);
    assert_eq!(args.typed.command, ["server", "--json", "--", "-x"]);
    assert_eq!(doctor(&["a.json", "b.yaml"]).expect("valid").configs.len(), 2);
}

#[test]
fn a_wrong_address_is_a_usage_error() {
    for (url, why) in [
        ("nonsense", "relative URL without a base"),
        ("", "relative URL without a base"),
        ("ftp://127.0.0.1/", "expected http or https, not ftp"),
        ("localhost:80", "expected http or https, not localhost"),
    ] {
        let wrong = doctor(&["--url", url]).expect_err("no address");
        assert_eq!(wrong.exit_code(), 2, "{url}");
        assert!(wrong.to_string().contains(why), "{wrong}");
    }
}

#[test]
fn a_wrong_duration_is_a_usage_error() {
    let wrong = doctor(&["--budget", "5"]).expect_err("no unit");
    assert_eq!(wrong.exit_code(), 2);
    assert!(wrong.to_string().contains("a unit is missing"), "{wrong}");
}

#[test]
fn every_help_fits_into_80_columns() {
    let mut whole = Cli::command();
    // Its width is passed on to the commands.
    whole.build();
    let mut helps = vec![whole.render_help(), whole.render_long_help()];
    for command in whole.get_subcommands_mut() {
        helps.extend([command.render_help(), command.render_long_help()]);
    }
    assert!(helps.len() >= 14, "{}", helps.len());
    for help in helps.iter().map(ToString::to_string) {
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
    }
}

#[test]
fn a_limit_of_nothing_is_refused_where_nothing_could_succeed_and_otherwise_means_at_once() {
    let parsed = |words: &[&str]| Cli::try_parse_from(["moored-mcp"].iter().chain(words));
    let commands = [&["doctor"][..], &["call", "c.json", "t", "{}"], &["serve", "c.json"]];
    let at_once = ["--discover-timeout", "--budget", "--eof-grace", "--term-grace"];
    for zero in ["0s", "0ms", "0m"] {
        for command in commands {
            for limit in at_once {
                parsed(&[command, &[limit, zero]].concat()).expect("at once");
            }
        }
        for limit in ["--settle", "--drain"] {
            parsed(&["serve", "c.json", limit, zero]).expect("at once");
        }
        for words in [
            &["doctor", "--connect-timeout", zero][..],
            &["call", "c.json", "t", "{}", "--connect-timeout", zero],
            &["call", "c.json", "t", "{}", "--timeout", zero],
            &["serve", "c.json", "--unread", zero],
        ] {
            let error = parsed(words).expect_err("nothing could succeed");
            assert_eq!(error.exit_code(), 2, "{words:?}");
            let text = error.to_string();
            assert!(text.contains(words[words.len() - 2]) && text.contains("zero"), "{text}");
        }
    }
    for limit in ["--max-sessions", "--max-body", "--starts"] {
        let error = parsed(&["serve", "c.json", limit, "0"]).expect_err("none");
        assert_eq!(error.exit_code(), 2, "{limit}");
        assert!(error.to_string().contains(limit), "{error}");
    }
}
