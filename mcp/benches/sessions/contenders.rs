//! The contenders, and the work of each in a round.

use std::process::Stdio;

use futures_util::future::join_all;
use moored_mcp::{GroupOptions, HttpParams, Policy, ServerParams, SessionGroup, StdioParams};
use rmcp::RoleClient;
use rmcp::model::{ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, RunningService, serve_client_with_lifecycle};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::task::JoinHandle;

use crate::figures::Phase;
use crate::measured;

/// The components of every server of the fleet: tools, prompts, resources. It has no templates, but a list of them.
const OFFERS: (usize, usize, usize) = (3, 1, 1);

/// One server.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Http(String),
    /// The program that is its own stdio server.
    Stdio(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// A session group.
    Ours,
    /// Stock rmcp, one task a session, one HTTP client, asking servers for the same: era probe, handshake, four lists. Its
    /// `cancel` sends the DELETE, or closes the child's input and reaps the child.
    Rmcp,
    /// The same, and of a child also that which moored-mcp does and rmcp does not: a process group of its own, its standard
    /// error read to the end, and the group killed when its leader has ended. Over HTTP there is no such difference.
    ByHand,
    /// The same without era probe and lists: the least that a session takes.
    Handshake,
}

impl Contender {
    /// All of them, in the order of the note.
    pub(crate) const ALL: [Self; 4] = [Self::Ours, Self::Rmcp, Self::ByHand, Self::Handshake];

    /// The contenders whose work differs for such a server.
    pub(crate) fn with(target: &Target) -> Vec<Self> {
        let is_child = matches!(target, Target::Stdio(_));
        Self::ALL.into_iter().filter(|it| is_child || *it != Self::ByHand).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "moored-mcp",
            Self::Rmcp => "rmcp",
            Self::ByHand => "rmcp, the same leave by hand",
            Self::Handshake => "rmcp, handshake only",
        }
    }

    /// The work of the contender, if it differs from that of the others.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Ours => {
                "also: own DELETE and its status; process group, stderr tail, sweep of the group before the reaping; \
                 a fault recorder; events and a report per session"
            }
            Self::Rmcp => {
                "the same requests as moored-mcp, lists side by side, one task a session; its cancel sends the DELETE, or \
                 closes the child's input and reaps the child"
            }
            Self::ByHand => {
                "beside that, each child leads a process group, which is killed after its end, and its standard error is \
                 read"
            }
            Self::Handshake => "no era probe, no lists",
        }
    }

    /// Connects to all targets and leaves them.
    pub(crate) async fn round(self, targets: &[Target]) -> (Phase, Phase) {
        let (connected, connect) = measured(self.connect(targets)).await;
        let ((), leave) = measured(connected.leave()).await;
        (connect, leave)
    }

    /// Connects to all targets and reads their lists.
    pub(crate) async fn connect(self, targets: &[Target]) -> Connected {
        match self {
            Self::Ours => Connected::Ours(ours(targets).await),
            Self::Rmcp | Self::ByHand | Self::Handshake => {
                Connected::Stock(stock(targets, self).await)
            }
        }
    }
}

/// The sessions of a contender.
pub(crate) enum Connected {
    Ours(SessionGroup),
    Stock(Vec<Stock>),
}

/// A session of rmcp.
pub(crate) struct Stock {
    session: Running,
    /// The group of its child, and the task that reads the child's standard error.
    group: Option<(Pid, JoinHandle<Vec<u8>>)>,
}

impl Stock {
    async fn leave(self) {
        self.session.cancel().await.expect("no panic in its loop");
        if let Some((group, stderr)) = self.group {
            let _nobody_left = kill_process_group(group, Signal::KILL);
            stderr.await.expect("no panic");
        }
    }
}

impl Connected {
    /// Leaves all of them, and waits until the last one has been left.
    pub(crate) async fn leave(self) {
        match self {
            Self::Ours(group) => {
                let report = group.close().await;
                assert!(report.all_well(), "{report:?}");
            }
            Self::Stock(sessions) => {
                let ends: Vec<_> =
                    sessions.into_iter().map(|it| tokio::spawn(it.leave())).collect();
                for end in join_all(ends).await {
                    end.expect("no panic");
                }
            }
        }
    }
}

async fn ours(targets: &[Target]) -> SessionGroup {
    let group = SessionGroup::start(GroupOptions::default());
    let params = targets.iter().enumerate().map(|(n, target)| match target {
        Target::Http(url) => ServerParams::http(format!("s{n}"), HttpParams::new(url.as_str())),
        Target::Stdio(program) => {
            let mut params = StdioParams::new(*program);
            params.args = vec!["fleet-server".into()];
            ServerParams::stdio(format!("s{n}"), params)
        }
    });
    for result in group.connect_many(params.collect(), Policy::BestEffort).await {
        let info = result.expect("it comes up");
        assert_eq!((info.tools, info.prompts, info.resources), OFFERS);
    }
    group
}

type Running = RunningService<RoleClient, ClientConfig>;

async fn stock(targets: &[Target], contender: Contender) -> Vec<Stock> {
    let client = std::cell::OnceCell::new();
    let attempts = targets.iter().map(|target| {
        let client = matches!(target, Target::Http(_))
            .then(|| client.get_or_init(reqwest::Client::new).clone());
        tokio::spawn(connect(target.clone(), client, contender))
    });
    let attempts: Vec<_> = attempts.collect();
    let sessions = join_all(attempts).await;
    sessions.into_iter().map(|it| it.expect("no panic")).collect()
}

async fn connect(target: Target, client: Option<reqwest::Client>, contender: Contender) -> Stock {
    let same_requests = contender != Contender::Handshake;
    let mut group = None;
    let this = ClientConfig::new(
        Default::default(),
        Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
    );
    let mode = if same_requests {
        ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        }
    } else {
        ClientLifecycleMode::Initialize
    };
    let session = match (target, client) {
        (Target::Http(url), client) => {
            let config = StreamableHttpClientTransportConfig::with_uri(url);
            let client = client.unwrap_or_default();
            let transport = StreamableHttpClientTransport::with_client(client, config);
            serve_client_with_lifecycle(this, transport, mode).await
        }
        (Target::Stdio(program), _) => {
            let mut command = Command::new(program);
            command.arg("fleet-server");
            let transport = if contender == Contender::ByHand {
                command.process_group(0);
                let child = TokioChildProcess::builder(command).stderr(Stdio::piped());
                let (child, stderr) = child.spawn().expect("it starts");
                let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
                group = id.zip(stderr.map(|stderr| tokio::spawn(all_of(stderr))));
                child
            } else {
                TokioChildProcess::new(command).expect("it starts")
            };
            serve_client_with_lifecycle(this, transport, mode).await
        }
    };
    let session = session.expect("it comes up");
    if same_requests {
        let (tools, prompts, resources, templates) = tokio::join!(
            session.list_tools(None),
            session.list_prompts(None),
            session.list_resources(None),
            session.list_resource_templates(None),
        );
        assert!(templates.expect("the templates").resource_templates.is_empty());
        let offers = (
            tools.expect("the tools").tools.len(),
            prompts.expect("the prompts").prompts.len(),
            resources.expect("the resources").resources.len(),
        );
        assert_eq!(offers, OFFERS);
    }
    Stock { session, group }
}

async fn all_of(mut stderr: ChildStderr) -> Vec<u8> {
    let mut all = Vec::new();
    let _broken = stderr.read_to_end(&mut all).await;
    all
}
