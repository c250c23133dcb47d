//! One server: its name, its transport, and the settings that both transports share.

use std::time::Duration;

use super::{HttpParams, SecretTexts, StdioParams};
use crate::callbacks::Callbacks;
use crate::policy::Restart;
use crate::wire::Adopted;
use crate::wire::secrets::Secrets;

/// One server of a group: its name, and its transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerParams {
    /// Unique in its group; a part of the names that the group has for its components.
    pub name: String,
    /// The transport to the server.
    pub transport: Transport,
    /// The era of the protocol that it speaks.
    pub era: Era,
    /// The limit of a call of its tools without a limit of its own; the group's if `None`.
    pub call_timeout: Option<Duration>,
    /// The callbacks for this server; the group's if `None`.
    pub callbacks: Option<Callbacks>,
    /// Whether it is started again after its session was lost.
    pub restart: Restart,
    /// Texts that no error, warning or report shows; see [`secret`](Self::secret).
    pub(crate) hidden: SecretTexts,
}

/// The era of the protocol that a server speaks: with an `initialize` handshake, or with `server/discover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Era {
    /// Not known: the server is probed with `server/discover`, and gets `initialize` if it does not answer as a modern
    /// server.
    #[default]
    Auto,
    /// `initialize`: the revisions from 2024-11-05 to 2025-11-25. No probe is sent.
    Legacy,
    /// `server/discover`: the revisions from 2026-07-28 on. There is no way back to `initialize`.
    Modern,
}

impl ServerParams {
    /// A server that is a child process speaking on its standard streams.
    pub fn stdio(name: impl Into<String>, params: StdioParams) -> Self {
        Self::new(name.into(), Transport::Stdio(params))
    }

    /// A server that listens for streamable HTTP.
    pub fn http(name: impl Into<String>, params: HttpParams) -> Self {
        Self::new(name.into(), Transport::Http(params))
    }

    /// A session, or a transport, that the program has opened itself.
    pub fn adopted(name: impl Into<String>, session: Adopted) -> Self {
        Self::new(name.into(), Transport::Adopted(session))
    }

    fn new(name: String, transport: Transport) -> Self {
        Self {
            name,
            transport,
            era: Era::Auto,
            call_timeout: None,
            callbacks: None,
            restart: Restart::Never,
            hidden: SecretTexts::default(),
        }
    }

    /// Limits calls of its tools.
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = Some(limit);
        self
    }

    /// Sets the callbacks for this server.
    pub fn callbacks(mut self, callbacks: Callbacks) -> Self {
        self.callbacks = Some(callbacks);
        self
    }

    /// Sets the era, if it is known.
    pub fn era(mut self, era: Era) -> Self {
        self.era = era;
        self
    }

    /// Sets whether it is started again after its session was lost.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Adds a text that no error, warning or report of this server shows, such as a key among its arguments. The server may
    /// repeat it on its standard error or in its errors; `(hidden)` then stands in its place.
    ///
    /// The values of headers are hidden without this, and so are those of `env`, but for short ones and for ordinary ones:
    /// variables that every server inherits, and, under a name that does not tell of a credential, numbers, paths, addresses
    /// of a host, and words of letters. A configuration adds the values with which its placeholders were filled in. A text of
    /// less than 6 bytes is shown, because it stands everywhere.
    pub fn secret(mut self, text: impl Into<String>) -> Self {
        self.hidden.0.push(text.into());
        self
    }

    /// The server as an error shows it: its command line, or its address without user, password and query, which may be
    /// secrets; and without its [secrets](Self::secret).
    pub fn endpoint(&self) -> String {
        let endpoint = match &self.transport {
            Transport::Stdio(stdio) => {
                let mut line = stdio.command.clone();
                for arg in &stdio.args {
                    line.push(' ');
                    line.push_str(arg);
                }
                line
            }
            Transport::Http(http) => crate::wire::http::headers::shown(&http.url),
            Transport::Adopted(_) => "an adopted session".to_owned(),
        };
        Secrets::of(self).hide(&endpoint).into_owned()
    }
}

/// The transport to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A child process of ours.
    Stdio(StdioParams),
    /// Streamable HTTP. The removed SSE transport is not spoken: a server without another transport is reported
    /// as a protocol error.
    Http(HttpParams),
    /// A session, or a transport, that the program has opened itself, and that the group never closes.
    Adopted(Adopted),
}
