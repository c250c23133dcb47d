//! The tree of open regions is printed when the process gets a signal. The test has its own process, because a signal
//! goes to the whole process.
#![cfg(unix)]
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

use moored::testing::hand;
use moored::{ExitStack, inspect};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The process that gets the signal: it has a stack that hangs, and ends with its input.
#[test]
fn asked() {
    if std::env::var_os("MOORED_ASKED").is_none() {
        return;
    }
    inspect::on_signal().unwrap();
    let stack = ExitStack::new().named("signalled");
    let mut leaving = hand(stack.run(async {
        stack.defer(std::future::pending::<()>());
        Ok::<_, ()>(())
    }));
    leaving.pending();
    println!("ready");
    // The only thread is blocked from here on, as in a program that hangs.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_process_prints_its_tree_when_it_is_asked_by_a_signal() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "asked", "--nocapture"])
        .env("MOORED_ASKED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    for output in [
        Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>,
        Box::new(child.stderr.take().unwrap()),
    ] {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
    }
    let find = |text: &str| loop {
        let line = lines.recv_timeout(Duration::from_secs(60)).expect("the child goes on");
        if line.contains(text) {
            return line;
        }
    };
    find("ready");
    for _ in 0..2 {
        let kill = Command::new("kill").args(["-USR1", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        find("open regions:");
        let exit = find("exit 1 of 1 of exit stack `signalled`");
        assert!(exit.contains("tests/signal.rs"), "{exit}");
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
