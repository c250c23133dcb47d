//! The scene of a fault: a group with two healthy siblings, and servers that keep records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use moored_mcp::{
    CallError, CallOptions, CloseReport, ConnectError, Delete, GroupOptions, Outcome, ServerParams,
    ServerReport, SessionGroup, SessionInfo,
};
use serde_json::{Map, Value, json};

use crate::support::http::{Reply, Request, Server, legacy};
use crate::support::{at, brisk, fleet_server};

const SIBLINGS: [&str; 2] = ["sibling-http", "sibling-stdio"];

/// The result of a fault. It is the same in every run, so it contains no times and no numbers of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The error or the events that the caller gets.
    pub(crate) told: Vec<String>,
    /// How the servers at fault were left.
    pub(crate) left: Vec<String>,
    /// The checks that were not possible, with the reason.
    pub(crate) waived: Vec<String>,
    /// The number of panics that belong to the fault.
    pub(crate) panics: usize,
}

/// A group with its siblings, and the books of the servers at fault.
pub(crate) struct Scene {
    pub(crate) group: SessionGroup,
    options: GroupOptions,
    sibling: Server,
    books: Vec<Books>,
    told: Vec<String>,
    panics: usize,
}

/// A server, and how many sessions it has handed out.
#[derive(Clone)]
pub(crate) struct Books {
    pub(crate) server: Arc<Server>,
    opened: Arc<AtomicUsize>,
    /// DELETEs that may be sent once more.
    repeats: Arc<AtomicUsize>,
}

impl std::ops::Deref for Books {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Books {
    /// The number of lines `what` in the server's log.
    pub(crate) fn asked_times(&self, what: &str) -> usize {
        self.log().iter().filter(|line| *line == what).count()
    }

    /// Sessions that the server has ended itself.
    pub(crate) fn forgotten(&self, sessions: usize) {
        self.opened.fetch_sub(sessions, Ordering::Relaxed);
    }

    /// DELETEs that met a connection that the server had closed.
    pub(crate) fn repeated(&self, deletes: usize) {
        self.opened.fetch_add(deletes, Ordering::Relaxed);
    }

    /// DELETEs whose connection the server closes: each is sent once more only if its connection was used before.
    pub(crate) fn may_be_repeated(&self, deletes: usize) {
        self.repeats.fetch_add(deletes, Ordering::Relaxed);
    }

    /// One DELETE for each session that was handed out, and nothing posted after it.
    fn are_exact(&self) {
        let (log, opened) = (self.log(), self.opened.load(Ordering::Relaxed));
        let (deletes, most) = (self.deletes(), opened + self.repeats.load(Ordering::Relaxed));
        assert!((opened..=most).contains(&deletes), "{opened} sessions were handed out: {log:?}");
        let position = |verb| log.iter().rposition(|line| line.starts_with(verb));
        if opened == 1 {
            assert!(position("POST ") < position("DELETE"), "posted after the DELETE: {log:?}");
        }
    }
}

impl Scene {
    /// A group within `options` whose siblings are up.
    pub(crate) async fn start(options: GroupOptions) -> Self {
        let sibling = Server::start(legacy).await;
        let group = SessionGroup::start(options.clone());
        let [http, stdio] = SIBLINGS;
        group.connect(at(http, &sibling.url)).await.expect("the sibling over HTTP comes up");
        group.connect(fleet_server(stdio, &[])).await.expect("the sibling over stdio comes up");
        Self { group, options, sibling, books: Vec::new(), told: Vec::new(), panics: 0 }
    }

    /// The same with short graces.
    pub(crate) async fn brisk() -> Self {
        Self::start(brisk()).await
    }

    /// A server whose every answer is chosen, and whose books have to be right in the end.
    pub(crate) async fn server(
        &mut self,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Books {
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = opened.clone();
        let server = Server::start(move |request| {
            let reply = script(request);
            let given = headers(&reply).iter().any(|(name, _)| name == "mcp-session-id");
            counted.fetch_add(given.into(), Ordering::Relaxed);
            reply
        });
        let books = Books { server: Arc::new(server.await), opened, repeats: Arc::default() };
        self.books.push(books.clone());
        books
    }

    /// Drops the group without a close.
    pub(crate) fn drop_group(&mut self) {
        self.group = SessionGroup::start(brisk());
    }

    /// Keeps a sentence for the page.
    pub(crate) fn tell(&mut self, text: impl Into<String>) {
        self.told.push(text.into());
    }

    /// Panics that belong to the fault.
    pub(crate) fn expect_panics(&mut self, panics: usize) {
        self.panics = panics;
    }

    /// Connects a server that cannot be connected. Its error's `source` chain goes down to the cause that the report names.
    pub(crate) async fn fails(&mut self, params: ServerParams) -> ConnectError {
        let error = self.group.connect(params).await.expect_err("it does not come up");
        self.told.push(told(&error));
        error
    }

    /// Connects a server that comes up.
    pub(crate) async fn up(&mut self, params: ServerParams) -> SessionInfo {
        let info = self.group.connect(params).await.expect("it comes up");
        self.told.push(match &info.list_error {
            None => "up".to_owned(),
            Some(error) => format!("up, but {}", cause(&error.chain)),
        });
        info
    }

    /// Calls the tool `echo` of a server.
    pub(crate) async fn call(&self, server: &str) -> Result<Value, CallError> {
        call(&self.group, server, CallOptions::default()).await
    }

    /// The same in a task of its own.
    pub(crate) fn calling(
        &self,
        server: &'static str,
    ) -> tokio::task::JoinHandle<Result<Value, CallError>> {
        let group = self.group.clone();
        tokio::spawn(async move { call(&group, server, CallOptions::default()).await })
    }

    /// Calls a tool that has no answer.
    pub(crate) async fn call_fails(&mut self, server: &str, options: CallOptions) -> CallError {
        let error = call(&self.group, server, options).await.expect_err("no answer");
        self.told.push(told_of_call(&error));
        error
    }

    /// Leaves everything. The siblings answer to the last and leave cleanly, and all of it is within the budget.
    pub(crate) async fn leave(self) -> Row {
        self.leave_and(|_| {}).await
    }

    /// The same, with a look at the report of the servers at fault.
    pub(crate) async fn leave_and(self, look: impl FnOnce(&[ServerReport])) -> Row {
        for sibling in SIBLINGS {
            self.call(sibling).await.expect("a healthy sibling answers");
        }
        let report = self.group.close().await;
        self.judge(report, look)
    }

    /// Judges a close that the fault itself has done.
    pub(crate) fn judge(self, report: CloseReport, look: impl FnOnce(&[ServerReport])) -> Row {
        let budget = self.options.budget.as_millis();
        assert!(
            u128::from(report.leave_ms) <= budget,
            "over the budget of {budget} ms: {report:#?}"
        );
        let (siblings, others): (Vec<_>, Vec<_>) =
            report.servers.into_iter().partition(|server| SIBLINGS.contains(&server.name.as_str()));
        assert_eq!(siblings.len(), SIBLINGS.len());
        for sibling in siblings {
            let well = sibling.outcome == Outcome::Ok && sibling.leave.clean;
            assert!(well, "a sibling is affected: {sibling:#?}");
        }
        for server in &others {
            assert!(server.leave.survivors.is_empty(), "{server:#?}");
        }
        look(&others);
        self.row(others.iter().map(left).collect(), Vec::new())
    }

    /// The row of a fault that leaves no report: `why` says so.
    pub(crate) fn without_report(self, left: &str, why: &str) -> Row {
        self.row(vec![left.to_owned()], vec![why.to_owned()])
    }

    fn row(self, left: Vec<String>, waived: Vec<String>) -> Row {
        assert_eq!(self.sibling.deletes(), 1, "the sibling's log: {:?}", self.sibling.log());
        self.books.iter().for_each(Books::are_exact);
        Row { told: folded(self.told), left: folded(left), waived, panics: self.panics }
    }

    /// Waits until the sibling's session has been ended.
    pub(crate) async fn sibling_is_left(&self) {
        self.sibling.asked("DELETE s-1").await;
    }
}

/// Equal sentences one after another, as one.
fn folded(all: Vec<String>) -> Vec<String> {
    let mut folded: Vec<(String, usize)> = Vec::new();
    for text in all {
        match folded.last_mut() {
            Some((last, times)) if *last == text => *times += 1,
            _ => folded.push((text, 1)),
        }
    }
    let shown = folded.into_iter().map(|(text, times)| match times {
        1 => text,
        _ => format!("{times} times {text}"),
    });
    shown.collect()
}

/// Calls the tool `echo`, which wants a text under one name or the other.
pub(crate) async fn call(
    group: &SessionGroup,
    server: &str,
    options: CallOptions,
) -> Result<Value, CallError> {
    let args = json!({"message": "ahoy", "text": "ahoy"});
    let Value::Object(args) = args else { unreachable!("an object") };
    group.call_tool(&format!("{server}/echo"), args, options).await
}

/// The arguments of a call.
pub(crate) fn args(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

/// An error of connecting, for the page: the kind, and the innermost cause.
pub(crate) fn told(error: &ConnectError) -> String {
    let chain = &error.report().chain;
    assert_eq!(chain.first(), Some(&error.report().message));
    let mut innermost = None;
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        innermost = Some(error.to_string());
        source = error.source();
    }
    // The chain of sources ends where the report's ends.
    if let (Some(innermost), Some(last)) = (innermost, chain.last()) {
        assert!(last.contains(&innermost) || innermost.contains(last), "{chain:?}: {innermost}");
    }
    format!("`{}`: {}", word(error.outcome()), cause(chain))
}

/// An error of a call, for the page.
pub(crate) fn told_of_call(error: &CallError) -> String {
    if let CallError::ServerGone { report, .. } | CallError::Failed { report, .. } = error {
        // The text of the error is the first line of the report; its sources are the others.
        assert_eq!(report.chain.first(), Some(&report.message));
        let source = std::error::Error::source(error).map(ToString::to_string);
        assert_eq!(source.as_ref(), report.chain.get(1), "{:?}", report.chain);
    }
    match error {
        CallError::ServerGone { report, .. } => format!("gone: {}", cause(&report.chain)),
        CallError::Failed { report, .. } => format!("the call failed: {}", cause(&report.chain)),
        other => plain(&other.to_string()),
    }
}

fn cause(chain: &[String]) -> String {
    plain(chain.last().expect("a chain"))
}

/// A word of the contract.
pub(crate) fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => panic!("no word: {other:?}"),
    }
}

/// How a server was left, for the page.
fn left(server: &ServerReport) -> String {
    let leave = &server.leave;
    let mut steps = Vec::new();
    if leave.delete != Delete::NotApplicable {
        steps.push(format!("DELETE `{}`", word(leave.delete)));
    }
    steps.extend(leave.signals.iter().cloned());
    steps.extend(leave.exit_status.map(|status| status.to_string()));
    if steps.is_empty() {
        steps.push("nothing to leave".to_owned());
    }
    steps.extend((server.starts > 1).then(|| format!("started {} times", server.starts)));
    let suppressed = leave.suppressed.len();
    steps.extend((suppressed > 0).then(|| format!("{suppressed} suppressed")));
    steps.push(if leave.clean { "clean" } else { "not clean" }.to_owned());
    steps.join(", ")
}

/// A text with the number after each `lead` replaced.
fn without_number(text: &str, lead: &str, instead: &str) -> String {
    let mut parts = text.split(lead);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(lead);
        plain.push_str(instead);
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    }
    plain
}

/// A text without the parts that differ from run to run: ports, paths, and characters that would break a table.
pub(crate) fn plain(text: &str) -> String {
    let text = text.replace(env!("CARGO_BIN_EXE_moored-mcp"), "moored-mcp");
    let text = text.replace(&std::env::temp_dir().display().to_string(), "DIR");
    let text = without_number(&text, "127.0.0.1:", "PORT");
    let text = without_number(&text, "given up after ", "N ");
    text.replace('\n', " ").replace('|', "/")
}

fn headers(reply: &Reply) -> &[(String, String)] {
    match reply {
        Reply::Answer { headers, .. } | Reply::Events { headers, .. } => headers,
        Reply::After(_, reply) | Reply::Gated(_, reply) => self::headers(reply),
        Reply::Fed(_) | Reply::Hang | Reply::Reset => &[],
    }
}
