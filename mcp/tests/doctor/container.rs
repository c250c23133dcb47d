//! The program as process 1, which adopts every orphan there is.

use std::process::Command;

use serde_json::json;

use super::harness::{BINARY, Place, at, stdio};
use super::processes;
use super::stub::{Answer, Stub};

/// A program that starts another one as process 1 of a namespace of its own; `None` where this machine does not let us.
fn as_process_1() -> Option<Command> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
        unshare.arg("--kill-child");
        unshare
    };
    let tried = unshare().arg("true").output().is_ok_and(|tried| tried.status.success());
    tried.then(unshare)
}

/// Whether a process, which is no zombie, is the watchdog of its parent.
fn is_watchdog(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0watchdog\0"))
}

#[test]
fn as_process_1_the_dead_of_a_servers_group_are_reaped_when_it_is_left() {
    let Some(mut program) = as_process_1() else {
        eprintln!("skipped: no process namespace can be had on this machine");
        return;
    };
    let place = Place::new();
    // Its DELETE hangs, so that the program still runs when the other servers have been left.
    let stub = Stub::start("DELETE", Answer::Hang);
    // A launcher between this program and two processes that are killed with their group: their parent ends before they
    // do.
    let launcher = format!("sleep 90 & sleep 90 & {BINARY} fleet-server --life 90s; :");
    let config = place.config(&[
        ("web", at(stub.url())),
        ("grandchild", stdio(&["--grandchild"])),
        ("launcher", json!({"command": "sh", "args": ["-c", launcher]})),
        ("fails", json!({"command": "sh", "args": ["-c", "sleep 90 & exit 7"]})),
    ]);
    program.arg(BINARY).args(["doctor", &config, "--budget", "20s", "--eof-grace", "200ms"]);
    let mut running = place.start_program(program, &[]);
    for name in ["grandchild", "launcher", "fails"] {
        // The servers are left in any order.
        while !running.said(&[name, "left in"]) {
            running.line_with(&["left in"]);
        }
    }
    let [(doctor, _)] = processes::children(running.id())[..] else {
        panic!("unshare has one child")
    };
    let left = processes::children(doctor).into_iter().filter(|(pid, _)| !is_watchdog(*pid));
    assert_eq!(left.collect::<Vec<_>>(), [], "nobody is left, not even a zombie");
    drop(running);
}
