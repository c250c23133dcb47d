//! The contenders, and the work of each in a round.

use futures_util::future::join_all;
use moored_mcp::{GroupOptions, HttpParams, Policy, ServerParams, SessionGroup, StdioParams};
use rmcp::RoleClient;
use rmcp::model::{ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, RunningService, serve_client_with_lifecycle};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use tokio::process::Command;

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
    /// Stock rmcp, one task a session, one HTTP client, asking servers for the same: era probe, handshake, four lists.
    Rmcp,
    /// The same without era probe and lists: the least that a session takes.
    Handshake,
}

impl Contender {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Rmcp, Self::Handshake];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "moored-mcp",
            Self::Rmcp => "rmcp",
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
            Self::Rmcp => "the same requests as moored-mcp, lists side by side, one task a session",
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
            Self::Rmcp => Connected::Stock(stock(targets, true).await),
            Self::Handshake => Connected::Stock(stock(targets, false).await),
        }
    }
}

/// The sessions of a contender.
pub(crate) enum Connected {
    Ours(SessionGroup),
    Stock(Vec<Running>),
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
                    sessions.into_iter().map(|it| tokio::spawn(it.cancel())).collect();
                for end in join_all(ends).await {
                    end.expect("no panic").expect("no panic in its loop");
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

async fn stock(targets: &[Target], same_requests: bool) -> Vec<Running> {
    let client = std::cell::OnceCell::new();
    let attempts = targets.iter().map(|target| {
        let client = matches!(target, Target::Http(_))
            .then(|| client.get_or_init(reqwest::Client::new).clone());
        tokio::spawn(connect(target.clone(), client, same_requests))
    });
    let attempts: Vec<_> = attempts.collect();
    let sessions = join_all(attempts).await;
    sessions.into_iter().map(|it| it.expect("no panic")).collect()
}

async fn connect(target: Target, client: Option<reqwest::Client>, same_requests: bool) -> Running {
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
            let transport = TokioChildProcess::new(command).expect("it starts");
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
    session
}
