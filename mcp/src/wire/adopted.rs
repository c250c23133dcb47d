//! Sessions and transports that the program has opened itself.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::service::{Peer, RoleClient};
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite};

use super::lent::{Returned, lend};
use super::pumps::{self, Flow, Pipes, Queues};

/// The pause between two looks at the session. rmcp has no event for its end.
const LOOK: Duration = Duration::from_millis(100);

/// A session, or a transport without a session, that the program has opened itself and that a group uses like its own:
/// see [`SessionGroup::adopt`](crate::SessionGroup::adopt).
///
/// The group never closes what it has not opened. When it leaves
///
/// - a [session](Self::new), the session is as open as before. Requests of the group that are under way are ended, and
///   nothing else is sent.
/// - a [pipe](Self::pipe) or [transport](Self::transport), the group sends what it has written by then and reads no more.
///   It neither shuts the transport down nor drops it: the program gets it back, through [`Returned`]. MCP has no message
///   for the end of a session on a pipe, so to the server the session that the group has begun there is still open, until
///   the program closes the transport. A transport that is adopted again begins with another handshake, which not
///   every server accepts.
#[derive(Clone)]
pub struct Adopted(Kind);

#[derive(Clone)]
enum Kind {
    Session(Arc<Peer<RoleClient>>),
    Transport(Arc<Mutex<Option<Open>>>),
}

/// Starts to carry messages between the queues of a session and a transport.
type Open = Box<dyn FnOnce(Queues) -> Flow + Send>;

impl Adopted {
    /// The session behind a peer, for example that of `RunningService::peer`. Its handshake is over.
    ///
    /// Components, results and the server's description of itself have the fields that rmcp's types have, because rmcp has
    /// parsed them before this crate sees them; [`introduction`](crate::SessionState::introduction) is empty. Where unknown
    /// fields matter, adopt a [pipe](Self::pipe), or let the group connect.
    pub fn new(peer: Peer<RoleClient>) -> Self {
        Self(Kind::Session(Arc::new(peer)))
    }

    /// A pair of pipes with a server at the other ends, one message a line. The group does the handshake, and everything
    /// that it does for a child process except starting and leaving it.
    ///
    /// It is connected once. The pipes come back when the session has been left, or when no clone of the returned value
    /// is left that could be connected. Bytes that were read by then and make no whole line are lost.
    ///
    /// ```no_run
    /// # async fn example(group: moored_mcp::SessionGroup) -> Result<(), Box<dyn std::error::Error>> {
    /// let stream = tokio::net::UnixStream::connect("/run/server.sock").await?;
    /// let (input, output) = stream.into_split();
    /// let (adopted, returned) = moored_mcp::Adopted::pipe(input, output);
    /// group.adopt("local", adopted).await?;
    /// group.disconnect("local").await;
    /// let still_open = returned.await;
    /// # drop(still_open); Ok(())
    /// # }
    /// ```
    pub fn pipe<R, W>(input: R, output: W) -> (Self, Returned<(R, W)>)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let ((input, input_back), (output, output_back)) = (lend(input), lend(output));
        let open = move |queues: Queues| Flow::of_pipes(input, output, Pipes::Adopted, queues);
        (Self::opened_by(Box::new(open)), Returned::both(input_back, output_back))
    }

    /// A transport of rmcp, whose handshake the group does. It is connected once, and comes back like
    /// [pipes](Self::pipe) do; its `close` is not called.
    ///
    /// Components, results and the server's description of itself have the fields that rmcp's types have, because rmcp has
    /// parsed each message by the time that its transport returns it. Where unknown fields matter, adopt a
    /// [pipe](Self::pipe), or let the group connect.
    pub fn transport<T>(transport: T) -> (Self, Returned<T>)
    where
        T: Transport<RoleClient> + 'static,
    {
        let (transport, back) = lend(transport);
        let open = move |queues| Flow::of_one(pumps::carry(transport, queues));
        (Self::opened_by(Box::new(open)), back)
    }

    fn opened_by(open: Open) -> Self {
        Self(Kind::Transport(Arc::new(Mutex::new(Some(open)))))
    }

    /// The peer of a session; `None` for a transport, whose handshake is still to come.
    pub(crate) fn peer(&self) -> Option<&Peer<RoleClient>> {
        match &self.0 {
            Kind::Session(peer) => Some(peer),
            Kind::Transport(_) => None,
        }
    }

    /// Takes the transport into use; `None` if it has been before.
    pub(crate) fn open(&self, queues: Queues) -> Option<Flow> {
        let Kind::Transport(open) = &self.0 else { return None };
        let open = open.lock().take()?;
        Some(open(queues))
    }
}

/// Waits for the end of a session.
pub(super) async fn closed(peer: Peer<RoleClient>) {
    while !peer.is_transport_closed() {
        tokio::time::sleep(LOOK).await;
    }
}

impl std::fmt::Debug for Adopted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adopted")
    }
}

/// Equal if both are clones of one value.
impl PartialEq for Adopted {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Session(one), Kind::Session(other)) => Arc::ptr_eq(one, other),
            (Kind::Transport(one), Kind::Transport(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Adopted {}
