//! The source of a command's servers: a configuration, or one address.

use std::path::Path;

use moored_mcp::config::Config;
use moored_mcp::{HttpParams, ServerParams};

use super::output;
use super::render::words;

/// The servers of the file at `path`; ignored parts of it are reported on stderr.
///
/// # Errors
///
/// One sentence that names the file, the line, the server and the key at fault.
pub(crate) fn load(path: &Path) -> Result<Vec<ServerParams>, String> {
    let config =
        Config::load(path, |name| std::env::var(name)).map_err(|error| words::chain(&error))?;
    config.warnings.iter().for_each(|warning| output::warn(warning));
    Ok(config.servers)
}

/// The one server at the address of the command line, with an arbitrary name.
pub(crate) fn at(url: &str) -> ServerParams {
    ServerParams::http("server", HttpParams::new(url))
}
