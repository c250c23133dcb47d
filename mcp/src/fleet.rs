//! The embedded fleet: five servers, three of them faulty on purpose.
//!
//! `moored-mcp doctor` examines it if it is given no configuration, so that a fresh machine
//! shows in one command how a clean leave looks and how an unclean one does.

pub(crate) mod handler;
pub(crate) mod http;
pub(crate) mod planted;
pub(crate) mod stdio;

use std::io;
use std::net::Ipv4Addr;

use moored_mcp::{HttpParams, ServerParams, StdioParams};
use tokio::net::TcpSocket;

use handler::{Eras, FleetHandler};
use http::{HttpServer, OnDelete};

/// The servers that run in this process, and the parameters for all five.
///
/// # On drop
///
/// The HTTP servers stop and the reserved port is released. Drop it after the sessions were left.
#[derive(Debug)]
pub(crate) struct Fleet {
    servers: Vec<ServerParams>,
    _healthy: HttpServer,
    _hanging: HttpServer,
    _reserved: TcpSocket,
}

impl Fleet {
    /// Starts the servers that run in this process. A stdio server is started by the session that
    /// connects to it.
    ///
    /// # Errors
    ///
    /// If no loopback port can be had, or if this program cannot find its own executable.
    pub(crate) async fn start() -> io::Result<Self> {
        let itself = std::env::current_exe()?.display().to_string();
        let stdio = |name: &str, flags: &[&str]| {
            let mut args = vec!["fleet-server".to_owned(), "--name".to_owned(), name.to_owned()];
            args.extend(flags.iter().map(|flag| (*flag).to_owned()));
            let params = StdioParams { command: itself.clone(), args, ..StdioParams::default() };
            ServerParams::stdio(name, params)
        };

        // Both HTTP servers speak the revision with sessions, because the newer one has no DELETE
        // that the report could show. The stdio servers speak the newer one.
        let handler = |name: &str| FleetHandler::new(name, Eras::Legacy);
        let healthy = HttpServer::start(handler("healthy-http"), OnDelete::Answer).await?;
        let hanging = HttpServer::start(handler("delete-hangs"), OnDelete::Hang).await?;

        // A port that is bound without listening refuses connections, and no other program can
        // take it.
        let reserved = TcpSocket::new_v4()?;
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let refusing = format!("http://{}/mcp", reserved.local_addr()?);

        let servers = vec![
            ServerParams::http("healthy-http", HttpParams::new(healthy.url())),
            stdio("healthy-stdio", &[]),
            ServerParams::http("refused", HttpParams::new(refusing)),
            ServerParams::http("delete-hangs", HttpParams::new(hanging.url())),
            stdio("stubborn-child", &["--ignore-eof", "--ignore-sigterm"]),
        ];
        Ok(Self { servers, _healthy: healthy, _hanging: hanging, _reserved: reserved })
    }

    /// The parameters of the servers, in the order of the report.
    pub(crate) fn servers(&self) -> &[ServerParams] {
        &self.servers
    }
}
