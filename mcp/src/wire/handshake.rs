//! The handshake: finds the era of a server and the revision that both sides speak.
//!
//! rmcp can do this, but its probe has a constant limit, it drops a late answer, and it takes some answers of legacy
//! servers for failures. So this module sends the requests, over a [`Line`] that both transports provide. rmcp is
//! started afterwards and sends its own first request, which the transport answers with the server's true answer (see
//! [`Agreed::replay`]).
//!
//! In [`Era::Auto`] the server is probed with `server/discover`. A server that refuses the probe, or leaves it
//! unanswered for too long, gets `initialize`. An answer to the probe that comes later still counts.

use std::time::Duration;

use rmcp::model::{
    ClientConfig, ClientJsonRpcMessage, ClientRequest, DiscoverRequest, DiscoverRequestParams,
    ErrorData, InitializeRequest, ProtocolVersion, RequestId, RequestMetaObject, ServerResult,
};
use tokio::time::Instant;

use self::era::{Initialized, Verdict};
use super::recorder::Recorder;
use super::undelivered;
use crate::duration::show_duration;
use crate::fault::Fault;
use crate::params::Era;
use crate::report::{ConnectPhase, Outcome};

mod agreed;
mod discovered;
mod era;

pub(crate) use self::agreed::{Agreed, client};
pub(crate) use self::discovered::{Discovered, discovered};
pub(crate) use self::era::check_version;

/// The id of the first request. rmcp counts its own requests from 0, and a server must not see an id twice; a server
/// may keep ids in 32 bits.
pub(crate) const FIRST_ID: i64 = 1_000_000_000;
/// The time that the other answer may take when `initialize` was accepted while the probe was open. A server that was
/// slow to start answers both at about the same time.
const LATE: Duration = Duration::from_millis(300);

/// A connection for requests. Answers come in any order.
pub(crate) trait Line {
    /// Sends a request. `false` if the connection is closed.
    async fn ask(&mut self, request: ClientJsonRpcMessage) -> bool;

    /// The next answer, with its id if it has one; `None` if the connection is closed and every earlier answer was
    /// returned.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: an answer is returned or stays to be returned.
    async fn hear(&mut self) -> Option<(Option<RequestId>, Said)>;

    /// Gives answers that are no longer awaited a moment to come, because they may open a session that has to
    /// be ended.
    async fn settle(&mut self, patience: Duration);
}

/// A server's answer to a request.
#[derive(Debug)]
pub(crate) enum Said {
    Result(Box<ServerResult>),
    Error(ErrorData),
    /// Not a JSON-RPC answer: an HTTP status, a connection that was closed, a body of another kind.
    Failed(Fault),
}

impl Said {
    /// An error of the server, or the reason why its answer could not be delivered.
    pub(crate) fn error(error: ErrorData) -> Self {
        match undelivered::fault(&error) {
            Some(fault) => Self::Failed(fault),
            None => Self::Error(error),
        }
    }
}

/// The conditions of a handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) era: Era,
    /// Whether a server of an unknown era is probed. It is not if the probe made a first process of it fail.
    pub(crate) probe: bool,
    /// The time that the probe may stay unanswered before `initialize` is sent.
    pub(crate) discover_timeout: Duration,
    /// The end of the attempt.
    pub(crate) deadline: Instant,
}

impl Terms {
    /// The time that an answer to the probe is awaited: some time has to be left for
    /// `initialize`.
    fn patience(&self) -> Duration {
        self.discover_timeout.min(self.half_of_what_is_left())
    }

    fn half_of_what_is_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()) / 2
    }
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The reason.
    pub(crate) fault: Fault,
    /// Whether an answer of the server ended it. Then the connection was intact until we closed it, and later
    /// faults are not the cause.
    pub(crate) answered: bool,
}

/// Performs the handshake.
///
/// # Errors
///
/// The server's refusal, or that the connection is closed. There is no time limit beyond the probe's, because the
/// caller drops the future at the end of the attempt, and the recorder has the phase.
pub(crate) async fn agree(
    line: &mut impl Line,
    terms: Terms,
    client: &ClientConfig,
    recorder: &Recorder,
) -> Result<Agreed, Refusal> {
    let mut talk = Talk {
        line,
        terms,
        client,
        recorder,
        next_id: FIRST_ID,
        probes: Vec::new(),
        initialize: None,
        discovers: 0,
        initializes: 0,
        remark: None,
    };
    let agreed = talk.hold().await;
    if agreed.is_ok() && talk.is_open() {
        talk.line.settle(LATE).await;
    }
    if agreed.is_ok() {
        recorder.probing(false);
    }
    agreed
}

/// A handshake under way.
struct Talk<'a, L> {
    line: &'a mut L,
    terms: Terms,
    client: &'a ClientConfig,
    recorder: &'a Recorder,
    next_id: i64,
    /// The probes that are not answered yet. There are two if the answer to `initialize` named a modern server
    /// meanwhile.
    probes: Vec<RequestId>,
    /// The `initialize` that is not answered yet.
    initialize: Option<RequestId>,
    /// The number of times each was sent.
    discovers: u32,
    initializes: u32,
    /// The reason why the probe has not decided, for a later failure: it was given up, or its answer cannot be read.
    remark: Option<String>,
}

/// An event of a handshake.
enum Heard {
    Probe(Said),
    Initialize(Said),
    TimeUp,
    Closed,
}

impl<L: Line> Talk<'_, L> {
    /// Sends the requests, and reads answers until they decide.
    async fn hold(&mut self) -> Result<Agreed, Refusal> {
        let may_initialize = self.terms.era != Era::Modern;
        let may_discover = self.terms.era != Era::Legacy;
        let patience = self.terms.patience();
        // The answers to `initialize` while the probe was open.
        let mut accepted = None;
        let mut rejected = None;
        let mut until = None;
        if may_discover && self.terms.probe {
            self.recorder.probing(may_initialize);
            self.discover().await;
            until = may_initialize.then(|| Instant::now() + patience);
        } else {
            self.send_initialize(&ProtocolVersion::LATEST_WITH_INITIALIZE).await;
        }
        loop {
            match self.hear(until).await {
                Heard::Probe(said) => match (self.verdict(said), accepted.take()) {
                    (Verdict::Modern(agreed), _) | (_, Some(agreed)) => return Ok(agreed),
                    (Verdict::Again(_), None) if self.discovers < 2 => self.discover().await,
                    (Verdict::Refused(fault) | Verdict::Again(fault), None) => {
                        return Err(self.refused(fault));
                    }
                    (Verdict::Legacy(_), None) if self.is_open() => {}
                    // The first `initialize`, or a second one: the first may have failed because of the open probe.
                    (Verdict::Legacy(_), None) if may_initialize && self.initializes < 2 => {
                        until = None;
                        self.send_initialize(&ProtocolVersion::LATEST_WITH_INITIALIZE).await;
                    }
                    (Verdict::Legacy(fault), None) => {
                        return Err(rejected.unwrap_or_else(|| self.refused(fault)));
                    }
                },
                Heard::Initialize(said) => match Initialized::of(said) {
                    Initialized::Accepted(agreed) if self.probes.is_empty() => return Ok(agreed),
                    Initialized::Accepted(agreed) => {
                        accepted = Some(agreed);
                        until = Some(Instant::now() + LATE);
                    }
                    Initialized::OtherVersion(version, _) if self.initializes < 2 => {
                        self.send_initialize(&version).await;
                    }
                    Initialized::Modern(fault) if may_discover && self.discovers < 2 => {
                        rejected = Some(self.refused(fault));
                        until = None;
                        self.initializes = 2;
                        self.discover().await;
                    }
                    Initialized::Rejected(fault)
                    | Initialized::OtherVersion(_, fault)
                    | Initialized::Modern(fault) => {
                        let refusal = self.refused(fault);
                        // A bridge may begin a session for the probe, whether it answers it or not, and cannot begin
                        // another one. A new process of it that is not probed accepts `initialize`.
                        self.recorder.probing(self.discovers > 0);
                        if self.probes.is_empty() {
                            return Err(refusal);
                        }
                        rejected = Some(refusal);
                        // `initialize` may have to wait for the probe's answer.
                        until = Some(Instant::now() + self.terms.half_of_what_is_left());
                    }
                },
                Heard::TimeUp => match (accepted.take(), rejected.take()) {
                    (Some(agreed), _) => return Ok(agreed),
                    (None, Some(refusal)) => return Err(refusal),
                    (None, None) => {
                        until = None;
                        self.give_up_the_probe(patience).await;
                    }
                },
                Heard::Closed => return Err(rejected.unwrap_or_else(|| self.closed())),
            }
        }
    }

    /// The meaning of an answer to the probe. An answer that cannot be read may be the reason of a later failure.
    fn verdict(&mut self, said: Said) -> Verdict {
        let decides_nothing = match &said {
            Said::Failed(fault) => fault.outcome == Outcome::ProtocolError,
            Said::Result(answer) => !matches!(**answer, ServerResult::DiscoverResult(_)),
            Said::Error(_) => false,
        };
        let verdict = Verdict::of(said);
        if let Verdict::Legacy(fault) = &verdict
            && decides_nothing
        {
            self.remark = Some(fault.line());
        }
        verdict
    }

    /// Whether an answer is still to come.
    fn is_open(&self) -> bool {
        !self.probes.is_empty() || self.initialize.is_some()
    }

    /// The time of the probe is over. Its answer still counts if it comes.
    async fn give_up_the_probe(&mut self, patience: Duration) {
        let given_up = format!("server/discover was given up after {}", show_duration(patience));
        self.recorder.warn(given_up.clone());
        self.remark = Some(given_up);
        self.send_initialize(&ProtocolVersion::LATEST_WITH_INITIALIZE).await;
    }

    /// Sends the probe. The next read notices a closed connection.
    async fn discover(&mut self) {
        let version = ProtocolVersion::LATEST;
        let client = self.client.clone();
        let mut discover = DiscoverRequest::new(DiscoverRequestParams {});
        discover.extensions.insert(RequestMetaObject::with_client_context(
            version,
            client.client_info,
            client.capabilities,
        ));
        let what = "waiting for the answer to server/discover";
        self.recorder.step(ConnectPhase::Probe, what);
        self.discovers += 1;
        let id = self.ask(ClientRequest::DiscoverRequest(discover)).await;
        self.probes.push(id);
    }

    async fn send_initialize(&mut self, version: &ProtocolVersion) {
        let request =
            InitializeRequest::new(self.client.clone().with_protocol_version(version.clone()));
        let mut phase = "waiting for the answer to initialize".to_owned();
        if let Some(remark) = &self.remark {
            phase.push_str(&format!(" ({remark})"));
        }
        self.recorder.step(ConnectPhase::Initialize, phase);
        self.initializes += 1;
        self.initialize = Some(self.ask(ClientRequest::InitializeRequest(request)).await);
    }

    async fn ask(&mut self, request: ClientRequest) -> RequestId {
        let id = RequestId::Number(self.next_id);
        self.next_id += 1;
        let _closed = self.line.ask(ClientJsonRpcMessage::request(request, id.clone())).await;
        id
    }

    /// The next answer to an open request, no later than `until`.
    async fn hear(&mut self, until: Option<Instant>) -> Heard {
        loop {
            let heard = match until {
                None => self.line.hear().await,
                Some(until) => match tokio::time::timeout_at(until, self.line.hear()).await {
                    Ok(heard) => heard,
                    Err(_) => return Heard::TimeUp,
                },
            };
            let Some((id, said)) = heard else { return Heard::Closed };
            match self.asked(id.as_ref()) {
                Some(Asked::Probe) => return Heard::Probe(said),
                Some(Asked::Initialize) => {
                    // From here on an exit is not the answer to the probe.
                    self.recorder.probing(false);
                    return Heard::Initialize(said);
                }
                None => {
                    let id = id.map_or_else(|| "none".to_owned(), |id| id.to_string());
                    self.recorder.note(format!("an answer that belongs to no request (id {id})"));
                }
            }
        }
    }

    /// The open request to which an answer belongs; it is then no longer open. An error without an id belongs to the
    /// oldest request.
    fn asked(&mut self, id: Option<&RequestId>) -> Option<Asked> {
        let is = |asked: &RequestId| id.is_none_or(|id| answers(id, asked));
        if let Some(at) = self.probes.iter().position(is) {
            self.probes.remove(at);
            return Some(Asked::Probe);
        }
        self.initialize.take_if(|asked| is(asked)).map(|_| Asked::Initialize)
    }

    /// The end of a handshake by an answer.
    fn refused(&self, fault: Fault) -> Refusal {
        self.recorder.probing(false);
        let fault = match &self.remark {
            Some(remark) if *remark != fault.line() => fault.remarked(remark),
            _ => fault,
        };
        Refusal { fault, answered: true }
    }

    /// The end of a handshake by the end of the connection.
    fn closed(&self) -> Refusal {
        let fault = self.recorder.recorded_fault().unwrap_or_else(|| {
            let phase = self.recorder.current_phase().unwrap_or_else(|| "connecting".into());
            let text = format!("the server closed the connection while {phase}");
            Fault::new(Outcome::ProtocolError, text)
        });
        Refusal { fault, answered: false }
    }
}

/// The request that was answered.
enum Asked {
    Probe,
    Initialize,
}

/// Whether `id` answers `asked`. Some servers send numbers back as strings.
fn answers(id: &RequestId, asked: &RequestId) -> bool {
    id == asked || matches!(id, RequestId::String(id) if **id == *asked.to_string())
}
