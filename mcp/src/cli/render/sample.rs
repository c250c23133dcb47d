//! A report with one server of each kind, for the tests of the rendering.

use moored_mcp::{
    CloseReport, Delete, ErrorReport, ExitStatusReport, LeaveReport, Outcome, ServerReport,
    TransportKind,
};

fn up(name: &str, transport: TransportKind, era: &str, leave: LeaveReport) -> ServerReport {
    ServerReport {
        name: name.into(),
        transport,
        era: Some(era.into()),
        server: None,
        outcome: Outcome::Ok,
        error: None,
        connect_ms: Some(12),
        waited_ms: 0,
        attempts: Vec::new(),
        starts: 1,
        tools: 3,
        prompts: 1,
        resources: 1,
        warnings: Vec::new(),
        leave,
    }
}

fn failed(
    name: &str,
    transport: TransportKind,
    outcome: Outcome,
    error: ErrorReport,
    leave: LeaveReport,
) -> ServerReport {
    ServerReport {
        name: name.into(),
        transport,
        era: None,
        server: None,
        outcome,
        error: Some(error),
        connect_ms: Some(1),
        waited_ms: 0,
        attempts: Vec::new(),
        starts: 1,
        tools: 0,
        prompts: 0,
        resources: 0,
        warnings: Vec::new(),
        leave,
    }
}

/// A server with an item that cannot be read.
fn doubtful() -> ServerReport {
    let warnings = vec!["tools/list: tools[1] \"x\" cannot be read: \u{1b}[2J".into()];
    let leave = LeaveReport { ms: 2, delete: Delete::NotSupported, ..LeaveReport::nothing() };
    ServerReport { warnings, ..up("odd", TransportKind::Http, "2025-11-25", leave) }
}

/// Two servers that are well, two that failed, two that were left unclean, one that is
/// doubtful.
pub(crate) fn report() -> CloseReport {
    let nothing = LeaveReport::nothing;
    let mut servers = vec![
        up(
            "web",
            TransportKind::Http,
            "2025-11-25",
            LeaveReport { ms: 2, delete: Delete::Terminated, ..nothing() },
        ),
        up(
            "files",
            TransportKind::Stdio,
            "2026-07-28",
            LeaveReport { ms: 9, exit_status: Some(ExitStatusReport::Code(0)), ..nothing() },
        ),
        failed(
            "gone",
            TransportKind::Http,
            Outcome::Unreachable,
            ErrorReport {
                message: "cannot reach http://127.0.0.1:9/mcp".into(),
                chain: vec![
                    "cannot reach http://127.0.0.1:9/mcp".into(),
                    "tcp connect error".into(),
                    "Connection refused (os error 111)".into(),
                ],
                stderr_tail: None,
                stderr_error: None,
                exit_status: None,
            },
            nothing(),
        ),
        failed(
            "crash",
            TransportKind::Stdio,
            Outcome::Exited,
            ErrorReport {
                message: "the server is gone".into(),
                chain: vec!["the server is gone".into()],
                stderr_tail: Some("first line\nno \u{1b}[31mlicence\n".into()),
                stderr_error: Some("Error: it began here".into()),
                exit_status: Some(ExitStatusReport::Code(7)),
            },
            LeaveReport { exit_status: Some(ExitStatusReport::Code(7)), ..nothing() },
        ),
        up(
            "slow",
            TransportKind::Http,
            "2025-11-25",
            LeaveReport { clean: false, ms: 5_000, delete: Delete::TimedOut, ..nothing() },
        ),
        up(
            "mule",
            TransportKind::Stdio,
            "2026-07-28",
            LeaveReport {
                clean: false,
                ms: 4_002,
                signals: vec!["SIGTERM".into(), "SIGKILL".into()],
                exit_status: Some(ExitStatusReport::Signal(9)),
                ..nothing()
            },
        ),
    ];
    servers.insert(2, doubtful());
    CloseReport {
        version: CloseReport::VERSION,
        clean: false,
        connect_ms: 14,
        drain_ms: 0,
        leave_ms: 5_001,
        servers,
    }
}

/// The same with long words everywhere.
pub(crate) fn wide() -> CloseReport {
    let long = |text: &str| format!("{text} {}", "with-a-very-long-name ".repeat(5));
    let mut report = report();
    let [plain, named, odd, gone, crash, .., mule] = &mut report.servers[..] else {
        unreachable!("the sample has seven servers")
    };
    plain.name = "healthy-http".into();
    named.name = long("files").replace(' ', "-");
    odd.warnings = vec![long("tools/list: tools[1]")];
    for error in [&mut gone.error, &mut crash.error].into_iter().flatten() {
        error.chain.push(format!("cannot reach http://127.0.0.1/{}", "x".repeat(200)));
        error.chain.extend((0..30).map(|depth| format!("cause {depth}")));
        error.stderr_tail = Some(long("Error: \u{4e16}\u{754c}"));
    }
    mule.leave.suppressed = vec![long("DELETE failed")];
    report
}
