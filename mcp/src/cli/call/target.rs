//! The tool that is meant, and the servers that have to be started to find it.

use moored_mcp::{ComponentInfo, ComponentKind, ServerParams};

/// The tool of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `server/tool`: one server is enough.
    Of {
        /// The server's name.
        server: String,
        /// The tool's name at the server.
        tool: String,
    },
    /// A bare name: every server has to list its tools before the name is known to be unique.
    Bare(String),
}

/// Understands `text`, and keeps the servers that have to be started for it.
///
/// A name with a slash belongs to the server before the slash; where server names contain slashes
/// themselves, the longest one that fits. A bare tool name that contains a slash has to be written
/// with its server. Of a server that is configured twice the first entry counts, as it does for the
/// doctor.
///
/// # Errors
///
/// If no configured server is meant.
pub(crate) fn aim(
    text: &str,
    servers: Vec<ServerParams>,
) -> Result<(Target, Vec<ServerParams>), String> {
    let owner = servers
        .iter()
        .filter(|server| split(text, &server.name).is_some())
        // `rev`, because `max_by_key` takes the last of equals and the first entry is to count.
        .rev()
        .max_by_key(|server| server.name.len());
    if let Some(owner) = owner.cloned() {
        let tool = split(text, &owner.name).unwrap_or_default().to_owned();
        return Ok((Target::Of { server: owner.name.clone(), tool }, vec![owner]));
    }
    if text.contains('/') {
        let names: Vec<String> = servers.iter().map(|s| format!("{:?}", s.name)).collect();
        return Err(format!("no configured server fits {text:?}; there are {}", names.join(", ")));
    }
    if text.is_empty() {
        return Err("the tool's name is empty".to_owned());
    }
    Ok((Target::Bare(text.to_owned()), servers))
}

/// The text after `server/` in `text`.
fn split<'a>(text: &'a str, server: &str) -> Option<&'a str> {
    text.strip_prefix(server)?.strip_prefix('/').filter(|tool| !tool.is_empty())
}

impl Target {
    /// The component of the tool that is meant, among all offered ones.
    ///
    /// # Errors
    ///
    /// If there is none, or more than one.
    pub(crate) fn find(&self, offered: &[ComponentInfo]) -> Result<ComponentInfo, String> {
        let tools = || offered.iter().filter(|c| c.kind == ComponentKind::Tool);
        let mut fits: Vec<&ComponentInfo> = match self {
            Target::Of { server, tool } => {
                tools().filter(|c| c.server == *server && c.wire == *tool).collect()
            }
            Target::Bare(tool) => tools().filter(|c| c.wire == *tool).collect(),
        };
        // A server may list a tool twice.
        fits.dedup_by(|one, other| one.hooked == other.hooked);
        match (fits.as_slice(), self) {
            ([one], _) => Ok((*one).clone()),
            ([], Target::Of { server, tool }) => Err(format!(
                "server {server:?} has no tool {tool:?}{}",
                listing(tools().map(|c| c.wire.as_str()))
            )),
            ([], Target::Bare(tool)) => Err(format!(
                "no server has a tool {tool:?}{}",
                listing(tools().map(|c| c.hooked.as_str()))
            )),
            (many, _) => Err(format!(
                "more than one server has this tool, say which{}",
                listing(many.iter().map(|c| c.hooked.as_str()))
            )),
        }
    }

    /// The advice if a server failed that the call may not have needed.
    pub(crate) fn advice(&self) -> Option<String> {
        match self {
            Target::Of { .. } => None,
            Target::Bare(tool) => Some(format!(
                "whether {tool:?} is unique is not known, so nothing was called; \
                 SERVER/{tool} needs that server only"
            )),
        }
    }
}

/// `: a, b, c`, or nothing to list.
fn listing<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<&str> = names.collect();
    if names.is_empty() {
        return "; there is no tool at all".to_owned();
    }
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(": {}{rest}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use moored_mcp::HttpParams;
    use serde_json::Map;

    use super::*;

    fn servers(names: &[&str]) -> Vec<ServerParams> {
        names.iter().map(|name| ServerParams::http(*name, HttpParams::new(*name))).collect()
    }

    fn tool(server: &str, wire: &str) -> ComponentInfo {
        ComponentInfo {
            hooked: format!("{server}/{wire}"),
            server: server.to_owned(),
            wire: wire.to_owned(),
            kind: ComponentKind::Tool,
            description: None,
            raw: Map::new(),
        }
    }

    #[test]
    fn a_tool_of_a_named_server_starts_that_server_only() {
        let (target, started) = aim("b/echo", servers(&["a", "b", "c"])).expect("b is there");
        assert_eq!(target, Target::Of { server: "b".into(), tool: "echo".into() });
        assert_eq!(started, servers(&["b"]));
    }

    #[test]
    fn a_bare_name_starts_all() {
        let (target, started) = aim("echo", servers(&["a", "b"])).expect("a bare name");
        assert_eq!(target, Target::Bare("echo".into()));
        assert_eq!(started.len(), 2);
    }

    #[test]
    fn the_longest_server_name_that_fits_is_meant() {
        let (target, _) = aim("a/b/c", servers(&["a", "a/b", "a/b"])).expect("a/b is there");
        assert_eq!(target, Target::Of { server: "a/b".into(), tool: "c".into() });
        let (target, _) = aim("a/b", servers(&["a", "a/b"])).expect("a is there");
        assert_eq!(target, Target::Of { server: "a".into(), tool: "b".into() });
    }

    #[test]
    fn a_server_that_is_not_configured_is_refused_before_anything_starts() {
        let why = aim("x/echo", servers(&["a", "b"])).expect_err("no x");
        assert_eq!(why, r#"no configured server fits "x/echo"; there are "a", "b""#);
        assert!(aim("", servers(&["a"])).is_err());
        assert!(aim("a/", servers(&["a"])).is_err());
    }

    #[test]
    fn of_a_server_that_is_configured_twice_the_first_entry_counts() {
        let mut twice = servers(&["a", "a"]);
        twice[1] = ServerParams::http("a", HttpParams::new("second"));
        let (_, started) = aim("a/echo", twice).expect("a is there");
        assert_eq!(started, servers(&["a"]));
    }

    #[test]
    fn a_bare_name_has_to_be_unique() {
        let offered = [tool("a", "echo"), tool("b", "echo"), tool("b", "add"), tool("b", "add")];
        let bare = |name: &str| Target::Bare(name.into()).find(&offered).map(|found| found.hooked);
        assert_eq!(bare("add"), Ok("b/add".to_owned()));
        assert_eq!(
            bare("echo"),
            Err("more than one server has this tool, say which: a/echo, b/echo".to_owned())
        );
        assert_eq!(
            bare("nope"),
            Err("no server has a tool \"nope\": a/echo, b/add, b/echo".to_owned())
        );
    }
}
