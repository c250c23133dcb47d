//! The sessions of clients of the older era: their limit, and their end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moored::CancelHandle;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::options::GatewayOptions;
use super::streams::Streams;
use crate::duration::bounded;

/// The name of a session, which only its client knows.
pub(super) type SessionId = Arc<str>;

/// If the limit is reached, a session that has not been used for this long is ended for a new one.
const GIVES_WAY: Duration = Duration::from_secs(60);

/// The sessions that are open.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Open,
    most: usize,
    idle: Duration,
}

type Open = Arc<Mutex<HashMap<SessionId, Session>>>;

#[derive(Debug)]
struct Session {
    streams: Streams,
    used: Instant,
    /// Requests under way and open streams.
    uses: usize,
    end: CancelHandle,
}

impl Sessions {
    pub(crate) fn new(options: &GatewayOptions) -> Self {
        Self { open: Arc::default(), most: options.sessions, idle: options.session_idle }
    }

    /// The number of open sessions.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Adds a session, until the returned value is dropped. It is to end when `end` is cancelled. If the limit is reached,
    /// the session that has been idle for the longest time is ended.
    ///
    /// # Errors
    ///
    /// If all sessions are in use.
    pub(super) fn add(&self, streams: Streams, end: CancelHandle) -> Result<Added, ()> {
        // 122 random bits of the operating system, which cannot be guessed.
        let id = SessionId::from(uuid::Uuid::new_v4().to_string());
        let mut open = self.open.lock();
        let mut gone = None;
        if open.len() >= self.most {
            let idle = open.iter().filter(|(_, it)| it.uses == 0 && it.used.elapsed() >= GIVES_WAY);
            let oldest = idle.min_by_key(|(_, it)| it.used).map(|(id, _)| id.clone());
            gone = Some(open.remove(&oldest.ok_or(())?));
        }
        open.insert(id.clone(), Session { streams, used: Instant::now(), uses: 0, end });
        drop(open);
        if let Some(session) = gone.flatten() {
            session.end.cancel_because("the session gave way to a new one");
        }
        Ok(Added { open: self.open.clone(), id })
    }

    /// Marks a session as used until the returned value is dropped; `None` if there is no such session.
    pub(super) fn use_(&self, id: &SessionId) -> Option<Use> {
        let mut open = self.open.lock();
        let session = open.get_mut(id)?;
        session.uses += 1;
        session.used = Instant::now();
        let streams = session.streams.clone();
        Some(Use { open: self.open.clone(), id: id.clone(), streams })
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
                (since + bounded(self.idle)).saturating_duration_since(Instant::now())
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// A session that was added. Its drop removes the session.
#[derive(Debug)]
pub(super) struct Added {
    open: Open,
    pub(super) id: SessionId,
}

impl Drop for Added {
    fn drop(&mut self) {
        let session = self.open.lock().remove(&self.id);
        drop(session);
    }
}

/// A session in use.
#[derive(Debug)]
pub(super) struct Use {
    open: Open,
    id: SessionId,
    pub(super) streams: Streams,
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

    fn add(sessions: &Sessions) -> Result<(Added, CancelHandle), ()> {
        let end = CancelScope::new().handle();
        let added = sessions.add(super::super::streams::pair().0, end.clone())?;
        Ok((added, end))
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_sessions_the_one_that_was_idle_for_longest_gives_way() {
        let sessions = sessions(2);
        let (a, a_ends) = add(&sessions).expect("room");
        let (b, b_ends) = add(&sessions).expect("room");
        add(&sessions).expect_err("both were just used");
        let used = sessions.use_(&a.id).expect("open");
        tokio::time::advance(GIVES_WAY).await;
        let (c, c_ends) = add(&sessions).expect("b has been idle");
        let ended = [a_ends, b_ends, c_ends].map(|end| end.is_cancelled());
        assert_eq!(ended, [false, true, false]);
        assert!(sessions.use_(&b.id).is_none());
        drop((used, b));
        assert!(sessions.end(&a.id) && !sessions.end(&a.id));
        assert_eq!(sessions.len(), 1);
        drop(c);
        assert_eq!(sessions.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_in_use_is_not_idle() {
        let sessions = sessions(1);
        let (added, _end) = add(&sessions).expect("room");
        let began = Instant::now();
        let used = sessions.use_(&added.id);
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(60 * minute, sessions.idle(&added.id)).await.is_err());
        drop(used);
        sessions.idle(&added.id).await;
        assert!(began.elapsed() >= 70 * minute && began.elapsed() <= 80 * minute);
        sessions.end(&added.id);
        sessions.idle(&added.id).await;
    }
}
