//! A server that is typed instead of configured.

use clap::Args;

/// One server that was typed, which needs no configuration.
#[derive(Debug, Args)]
pub(crate) struct TypedArgs {
    /// The server at this address takes the place of CONFIG.
    #[arg(long, value_name = "URL", conflicts_with = "command", value_parser = address)]
    pub url: Option<String>,
    /// The server that this command starts takes the place of CONFIG. All words after it belong to the command, so it
    /// comes last.
    #[arg(long, value_name = "WORD", num_args = 1.., allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// An address of streamable HTTP, as it was typed.
fn address(text: &str) -> Result<String, String> {
    let parsed = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    match parsed.scheme() {
        "http" | "https" => Ok(text.to_owned()),
        other => Err(format!("expected http or https, not {other}")),
    }
}

impl TypedArgs {
    /// Whether there is one.
    pub(crate) fn is_given(&self) -> bool {
        self.url.is_some() || !self.command.is_empty()
    }
}
