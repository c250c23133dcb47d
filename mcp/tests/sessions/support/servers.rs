//! Servers of one line each.

use moored_mcp::{HttpParams, ServerParams, StdioParams};

/// The program's own stdio server, with faults.
pub(crate) fn fleet_server(name: &str, flags: &[&str]) -> ServerParams {
    let mut params = StdioParams::new(env!("CARGO_BIN_EXE_moored-mcp"));
    params.args =
        std::iter::once("fleet-server").chain(flags.iter().copied()).map(str::to_owned).collect();
    ServerParams::stdio(name, params)
}

/// A child that is a line of shell.
pub(crate) fn shell(name: &str, script: &str) -> ServerParams {
    let mut params = StdioParams::new("sh");
    params.args = vec!["-c".into(), script.into()];
    ServerParams::stdio(name, params)
}

/// A server behind an address.
pub(crate) fn at(name: &str, url: &str) -> ServerParams {
    ServerParams::http(name, HttpParams::new(url))
}
