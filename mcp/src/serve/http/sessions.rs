//! The sessions of clients of the older era: their limit, and their end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moored::CancelHandle;
use parking_lot::Mutex;
use rmcp::transport::streamable_http_server::session::SessionId;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tokio::time::Instant;

use super::super::options::GatewayOptions;

/// If the limit is reached, a session that has not been used for this long is ended for a new one.
const GIVES_WAY: Duration = Duration::from_secs(60);
/// The time after which a client should ask again for a broken stream.
const RETRY: Duration = Duration::from_secs(3);

/// The sessions that are open.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// rmcp's part, which sends each message to its stream.
    pub(super) manager: Arc<LocalSessionManager>,
    open: Arc<Mutex<HashMap<SessionId, Session>>>,
    most: usize,
    idle: Duration,
}

#[derive(Debug)]
struct Session {
    used: Instant,
    /// Requests under way and open streams.
    uses: usize,
    end: CancelHandle,
}

impl Sessions {
    pub(crate) fn new(options: &GatewayOptions) -> Self {
        let mut manager = LocalSessionManager::default();
        // The idle time is measured here, because to rmcp a session is idle if its only stream is silent.
        manager.session_config.keep_alive = None;
        manager.session_config.sse_retry = Some(RETRY);
        Self {
            manager: Arc::new(manager),
            open: Arc::default(),
            most: options.sessions,
            idle: options.session_idle,
        }
    }

    /// The number of open sessions.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Adds a session, which ends when `end` is cancelled. If the limit is reached, the session that has been idle for
    /// the longest time is ended.
    ///
    /// # Errors
    ///
    /// If all sessions are in use.
    pub(super) fn add(&self, id: SessionId, end: CancelHandle) -> Result<(), ()> {
        let mut open = self.open.lock();
        let mut gone = None;
        if open.len() >= self.most {
            let idle = open.iter().filter(|(_, it)| it.uses == 0 && it.used.elapsed() >= GIVES_WAY);
            let oldest = idle.min_by_key(|(_, it)| it.used).map(|(id, _)| id.clone());
            gone = Some(open.remove(&oldest.ok_or(())?));
        }
        open.insert(id, Session { used: Instant::now(), uses: 0, end });
        drop(open);
        if let Some(session) = gone.flatten() {
            session.end.cancel_because("the session gave way to a new one");
        }
        Ok(())
    }

    /// Marks a session as used until the returned value is dropped; `None` if there is no such session.
    pub(super) fn use_(&self, id: &SessionId) -> Option<Use> {
        let mut open = self.open.lock();
        let session = open.get_mut(id)?;
        session.uses += 1;
        session.used = Instant::now();
        Some(Use { open: self.open.clone(), id: id.clone() })
    }

    /// Ends a session; `false` if there is no such session.
    pub(super) fn end(&self, id: &SessionId) -> bool {
        let session = self.open.lock().remove(id);
        session.map(|session| session.end.cancel_because("the session was ended")).is_some()
    }

    /// Waits until a session has been idle for too long, or is no longer open.
    pub(super) async fn idle(&self, id: &SessionId) {
        loop {
            let left = {
                let open = self.open.lock();
                let Some(session) = open.get(id) else { return };
                let since = if session.uses > 0 { Instant::now() } else { session.used };
                (since + self.idle).saturating_duration_since(Instant::now())
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// A session in use.
#[derive(Debug)]
pub(super) struct Use {
    open: Arc<Mutex<HashMap<SessionId, Session>>>,
    id: SessionId,
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Some(session) = self.open.lock().get_mut(&self.id) {
            session.uses -= 1;
            session.used = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use moored::CancelScope;

    use super::*;

    fn sessions(most: usize) -> Sessions {
        let mut options = GatewayOptions::default();
        (options.sessions, options.session_idle) = (most, Duration::from_secs(600));
        Sessions::new(&options)
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_sessions_the_one_that_was_idle_for_longest_gives_way() {
        let sessions = sessions(2);
        let ends = [(); 3].map(|()| CancelScope::new().handle());
        let [a, b, c]: [SessionId; 3] = ["a".into(), "b".into(), "c".into()];
        sessions.add(a.clone(), ends[0].clone()).expect("room");
        sessions.add(b.clone(), ends[1].clone()).expect("room");
        sessions.add(c.clone(), ends[2].clone()).expect_err("both were just used");
        let used = sessions.use_(&a).expect("open");
        tokio::time::advance(GIVES_WAY).await;
        sessions.add(c.clone(), ends[2].clone()).expect("b has been idle");
        assert_eq!(ends.map(|end| end.is_cancelled()), [false, true, false]);
        assert!(sessions.use_(&b).is_none());
        drop(used);
        assert!(sessions.end(&a) && !sessions.end(&a));
        assert_eq!(sessions.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_in_use_is_not_idle() {
        let sessions = sessions(1);
        let id: SessionId = "a".into();
        sessions.add(id.clone(), CancelScope::new().handle()).expect("room");
        let began = Instant::now();
        let used = sessions.use_(&id);
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(60 * minute, sessions.idle(&id)).await.is_err());
        drop(used);
        sessions.idle(&id).await;
        assert!(began.elapsed() >= 70 * minute && began.elapsed() <= 80 * minute);
        sessions.end(&id);
        sessions.idle(&id).await;
    }
}
