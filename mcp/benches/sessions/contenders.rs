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

/// The components of every server of the fleet: tools, prompts, resources.
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
    /// Stock rmcp, one task a session, one HTTP client, asking servers for the same: era probe, handshake, three lists.
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
        match self {
            Self::Ours => ours(targets).await,
            Self::Rmcp => stock(targets, true).await,
            Self::Handshake => stock(targets, false).await,
        }
    }
}

async fn ours(targets: &[Target]) -> (Phase, Phase) {
    let (group, connect) = measured(async {
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
    })
    .await;
    let (report, leave) = measured(group.close()).await;
    assert!(report.all_well(), "{report:?}");
    (connect, leave)
}

type Running = RunningService<RoleClient, ClientConfig>;

async fn stock(targets: &[Target], same_requests: bool) -> (Phase, Phase) {
    let (sessions, connect) = measured(async {
        let client = std::cell::OnceCell::new();
        let attempts = targets.iter().map(|target| {
            let client = matches!(target, Target::Http(_))
                .then(|| client.get_or_init(reqwest::Client::new).clone());
            tokio::spawn(connect(target.clone(), client, same_requests))
        });
        let attempts: Vec<_> = attempts.collect();
        let sessions = join_all(attempts).await;
        sessions.into_iter().map(|it| it.expect("no panic")).collect::<Vec<Running>>()
    })
    .await;
    let ((), leave) = measured(async {
        let ends: Vec<_> = sessions.into_iter().map(|it| tokio::spawn(it.cancel())).collect();
        for end in join_all(ends).await {
            end.expect("no panic").expect("no panic in its loop");
        }
    })
    .await;
    (connect, leave)
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
        let (tools, prompts, resources) = tokio::join!(
            session.list_tools(None),
            session.list_prompts(None),
            session.list_resources(None),
        );
        let offers = (
            tools.expect("the tools").tools.len(),
            prompts.expect("the prompts").prompts.len(),
            resources.expect("the resources").resources.len(),
        );
        assert_eq!(offers, OFFERS);
    }
    session
}
