//! The diagnoses that the doctor has to find in the embedded fleet: each fault was planted, so each diagnosis is
//! known beforehand.

use moored_mcp::{CloseReport, Delete, ExitStatusReport, Outcome, ServerReport};

use crate::cli::words;

/// The fault that was planted in one server.
struct Planted {
    name: &'static str,
    outcome: Outcome,
    /// The text that the innermost cause has to contain.
    cause: &'static str,
    delete: Delete,
    signals: &'static [&'static str],
    exit_status: Option<ExitStatusReport>,
    clean: bool,
}

const WELL: Planted = Planted {
    name: "",
    outcome: Outcome::Ok,
    cause: "",
    delete: Delete::NotApplicable,
    signals: &[],
    exit_status: None,
    clean: true,
};

/// The fleet, in its order.
const FLEET: [Planted; 5] = [
    Planted { name: "healthy-http", delete: Delete::Terminated, ..WELL },
    Planted { name: "healthy-stdio", exit_status: Some(ExitStatusReport::Code(0)), ..WELL },
    Planted { name: "refused", outcome: Outcome::Unreachable, cause: "Connection refused", ..WELL },
    Planted { name: "delete-hangs", delete: Delete::TimedOut, clean: false, ..WELL },
    Planted {
        name: "stubborn-child",
        signals: &["SIGTERM", "SIGKILL"],
        exit_status: Some(ExitStatusReport::Signal(9)),
        clean: false,
        ..WELL
    },
];

/// The comparison of a report of the fleet with the planted faults.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The servers with another diagnosis, each with the difference.
    pub(crate) wrong: Vec<(&'static str, String)>,
}

impl Verdict {
    /// Compares.
    pub(crate) fn of(report: &CloseReport) -> Self {
        let wrong = FLEET.iter().filter_map(|planted| {
            let found = report.servers.iter().find(|server| server.name == planted.name);
            let difference =
                found.map_or(Some("it is not reported".into()), |found| planted.differs(found));
            difference.map(|difference| (planted.name, difference))
        });
        Self { wrong: wrong.collect() }
    }

    /// Whether every diagnosis is the planted one.
    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// The verdict for a person, a line each; the last line is the overall verdict.
    pub(crate) fn lines(&self) -> Vec<String> {
        let all = FLEET.len();
        let mut lines: Vec<String> =
            self.wrong.iter().map(|(name, difference)| format!("  {name}: {difference}")).collect();
        let names: Vec<&str> = self.wrong.iter().map(|(name, _)| *name).collect();
        // With all five names it is as wide as the narrowest usual terminal.
        lines.push(match names.len() {
            0 => format!("all {all} diagnoses are the planted ones"),
            wrong => format!("{wrong} of {all} wrong: {}", names.join(", ")),
        });
        lines
    }
}

impl Planted {
    /// The first difference of a diagnosis.
    fn differs(&self, found: &ServerReport) -> Option<String> {
        let leave = &found.leave;
        let cause = found.error.as_ref().map(words::cause).unwrap_or_default();
        let exit = |status: Option<ExitStatusReport>| status.map_or("none".into(), words::ended);
        let survivors = leave.survivors.len();
        let clean = |clean: bool| if clean { "clean" } else { "unclean" }.to_owned();
        let compared = [
            ("outcome", words::outcome(self.outcome).into(), words::outcome(found.outcome).into()),
            ("DELETE", said(self.delete), said(leave.delete)),
            ("signals", self.signals.join(", "), leave.signals.join(", ")),
            ("exit status", exit(self.exit_status), exit(leave.exit_status)),
            ("survivors", "0".to_owned(), survivors.to_string()),
            ("leaving", clean(self.clean), clean(leave.clean)),
            ("warnings", String::new(), words::warnings(&found.warnings).join("; ")),
        ];
        let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        let differs = compared.into_iter().find(|(_, planted, found)| planted != found);
        differs
            .map(|(what, planted, found)| {
                format!("{what}: planted {}, found {}", or_none(planted), or_none(found))
            })
            .or_else(|| {
                let tells = cause.contains(self.cause);
                (!tells).then(|| format!("cause: planted {:?}, found {cause:?}", self.cause))
            })
    }
}

fn said(delete: Delete) -> String {
    words::delete(delete).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use moored_mcp::{ErrorReport, LeaveReport, TransportKind};

    use super::*;

    fn report() -> CloseReport {
        let servers = FLEET.iter().map(|planted| ServerReport {
            name: planted.name.into(),
            transport: TransportKind::Http,
            era: None,
            server: None,
            outcome: planted.outcome,
            error: (!planted.cause.is_empty()).then(|| ErrorReport {
                message: "cannot reach it".into(),
                chain: vec!["cannot reach it".into(), format!("{} (os error 111)", planted.cause)],
                stderr_tail: None,
                stderr_error: None,
                exit_status: None,
            }),
            connect_ms: None,
            waited_ms: 0,
            attempts: Vec::new(),
            starts: 1,
            tools: 0,
            prompts: 0,
            resources: 0,
            warnings: Vec::new(),
            leave: LeaveReport {
                clean: planted.clean,
                delete: planted.delete,
                signals: planted.signals.iter().map(|it| (*it).to_owned()).collect(),
                exit_status: planted.exit_status,
                ..LeaveReport::nothing()
            },
        });
        let servers = servers.collect();
        CloseReport { version: 1, clean: false, connect_ms: 0, drain_ms: 0, leave_ms: 0, servers }
    }

    #[test]
    fn the_planted_diagnoses_are_right() {
        let verdict = Verdict::of(&report());
        assert!(verdict.is_right(), "{verdict:?}");
        assert_eq!(verdict.lines(), ["all 5 diagnoses are the planted ones"]);
    }

    #[test]
    fn a_diagnosis_that_was_not_planted_is_named() {
        let mut one = report();
        one.servers[3].leave.delete = Delete::Terminated;
        let verdict = Verdict::of(&one);
        assert_eq!(
            verdict.lines(),
            [
                "  delete-hangs: DELETE: planted DELETE not answered, found DELETE ended the session",
                "1 of 5 wrong: delete-hangs",
            ]
        );
        one.servers[2].error = None;
        one.servers.pop();
        let lines = Verdict::of(&one).lines();
        assert_eq!(lines[0], r#"  refused: cause: planted "Connection refused", found """#);
        let last = "3 of 5 wrong: refused, delete-hangs, stubborn-child";
        assert_eq!(lines.last().map(String::as_str), Some(last));
    }
}
