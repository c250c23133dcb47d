//! The requests for lists over a pipe, which go past rmcp.
//!
//! For each request rmcp makes a task, and for each page a copy and keys of a cache that is not used here. A list needs none of
//! that: it has no caller but the owner of the session. So its request is written here, and the reader of the pipe hands its
//! answer over without a detour.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rmcp::model::{ClientConfig, RequestId, RequestMetaObject, ServerCapabilities};
use rmcp::service::ServiceError;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::super::handshake::Agreed;
use super::super::pending::{Paged, Pending};
use super::super::stop::Stop;
use super::super::{CallFailure, call_failure};
use super::kind::List;
use super::page::Findings;

/// Requests pages over a pipe.
#[derive(Debug)]
pub(crate) struct Direct {
    /// Weak, because the pipe is closed when rmcp's loop has ended.
    outbox: mpsc::WeakSender<Bytes>,
    pending: Arc<Pending>,
    stop: Stop,
    /// The part that the parameters of every request begin with: in the newer era each of them describes the client.
    meta: String,
    /// The first pages that have been requested already.
    begun: Mutex<Vec<(List, Asked)>>,
}

/// A request that was sent: its id, and its answer.
type Asked = (i64, oneshot::Receiver<Paged>);

impl Direct {
    /// For the pipe that `outbox` leads to, whose server has agreed on a revision with `client`.
    pub(crate) fn new(
        outbox: &mpsc::Sender<Bytes>,
        pending: Arc<Pending>,
        stop: Stop,
        agreed: &Agreed,
        client: &ClientConfig,
    ) -> Self {
        let mut meta = String::new();
        if !agreed.is_legacy() {
            let object = RequestMetaObject::with_client_context(
                agreed.version().clone(),
                client.client_info.clone(),
                client.capabilities.clone(),
            );
            // Nothing in it can fail: it is an object of texts and capabilities, which were read from JSON.
            meta = serde_json::to_string(&object)
                .map(|it| format!("\"_meta\":{it}"))
                .unwrap_or_default();
        }
        Self { outbox: outbox.downgrade(), pending, stop, meta, begun: Mutex::default() }
    }

    /// Requests the first pages of all lists that a server with these capabilities has. The server works on them while rmcp
    /// begins.
    pub(crate) fn begin(&self, capabilities: &ServerCapabilities) {
        let Some(outbox) = self.outbox.upgrade() else { return };
        let mut begun = self.begun.lock();
        for list in List::ALL.into_iter().filter(|list| list.is_offered(capabilities)) {
            // Without room, the request is sent later.
            let Ok(room) = outbox.try_reserve() else { return };
            begun.push((list, self.send(room, list, None)));
        }
    }

    /// Requests one page, or waits for the answer if it was requested before.
    ///
    /// # Cancel safety
    ///
    /// A request that is dropped before its answer tells the server so, without waiting.
    pub(super) async fn page(
        &self,
        list: List,
        cursor: Option<String>,
    ) -> Result<Findings, CallFailure> {
        let begun = if cursor.is_none() { self.take_begun(list) } else { None };
        let (id, answer) = match begun {
            Some(asked) => asked,
            None => self.ask(list, cursor.as_deref()).await?,
        };
        let mut unanswered = Unanswered { direct: self, id: Some(id) };
        let answer = answer.await;
        unanswered.id = None;
        match answer {
            Ok(Paged::Page(page)) => Ok(page),
            Ok(Paged::Error(error)) => Err(call_failure(ServiceError::McpError(error))),
            // The reader of the pipe has ended.
            Err(_) => Err(CallFailure::Gone),
        }
    }

    fn take_begun(&self, list: List) -> Option<Asked> {
        let mut begun = self.begun.lock();
        let at = begun.iter().position(|(of, _)| *of == list)?;
        Some(begun.swap_remove(at).1)
    }

    /// Waits for room in the queue.
    async fn ask(&self, list: List, cursor: Option<&str>) -> Result<Asked, CallFailure> {
        let outbox = self.outbox.upgrade().ok_or(CallFailure::Gone)?;
        let room = tokio::select! {
            biased;
            () = self.stop.requested() => return Err(CallFailure::Gone),
            room = outbox.reserve() => room.map_err(|_closed| CallFailure::Gone)?,
        };
        Ok(self.send(room, list, cursor))
    }

    fn send(&self, room: mpsc::Permit<'_, Bytes>, list: List, cursor: Option<&str>) -> Asked {
        let (id, answer) = self.pending.asks(list);
        let method = list.method();
        let mut line =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{}"#, self.meta);
        if let Some(cursor) = cursor {
            let comma = if self.meta.is_empty() { "" } else { "," };
            line.push_str(&format!("{comma}\"cursor\":{}", Value::from(cursor)));
        }
        line.push_str("}}\n");
        room.send(line.into());
        (id, answer)
    }

    /// Tells the server that a request needs no answer any more, if it has seen the request.
    fn abandon(&self, id: i64) {
        if !self.pending.withdraw(&RequestId::Number(id)) || self.stop.is_requested() {
            return;
        }
        let told = json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": id, "reason": "request abandoned by the caller"},
        });
        if let Some(outbox) = self.outbox.upgrade() {
            // If the queue is full the server does not read, so it does not work either.
            let _full = outbox.try_send(format!("{told}\n").into());
        }
    }
}

/// When this is dropped, the server is told not to answer the request any more.
struct Unanswered<'a> {
    direct: &'a Direct,
    id: Option<i64>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.direct.abandon(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::super::super::inbox::Inbox;
    use super::super::super::incoming;
    use super::super::super::recorder::Recorder;
    use super::super::super::stop::Exchanges;
    use super::super::super::unplaced::Unplaced;
    use super::*;

    /// A way to request pages, its end of the queue, the lines that it sends, and the requests that wait.
    fn direct(
        exchanges: &Exchanges,
        meta: &str,
    ) -> (Direct, mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>, Arc<Pending>) {
        let (outbox, sent) = mpsc::channel(4);
        let (pending, stop) = (Arc::<Pending>::default(), Stop::of(exchanges));
        let (weak, begun) = (outbox.downgrade(), Mutex::default());
        let meta = meta.to_owned();
        (
            Direct { outbox: weak, pending: pending.clone(), stop, meta, begun },
            outbox,
            sent,
            pending,
        )
    }

    fn next(sent: &mut mpsc::Receiver<Bytes>) -> Value {
        let line = sent.try_recv().expect("a line");
        assert!(line.ends_with(b"\n"));
        serde_json::from_slice(&line).expect("a message")
    }

    #[tokio::test]
    async fn the_answer_of_a_page_goes_past_rmcp_and_other_messages_do_not() {
        let exchanges = Exchanges::new();
        let (direct, _outbox, mut sent, pending) = direct(&exchanges, r#""_meta":{"a":1}"#);
        let recorder = Recorder::default();
        let (messages, mut to_rmcp) = mpsc::channel(4);
        let mut inbox = Inbox {
            messages,
            pending: &pending,
            recorder: &recorder,
            transport: "a pipe",
            unplaced: Unplaced::default(),
        };
        let mut capabilities = ServerCapabilities::default();
        capabilities.prompts = Some(Default::default());
        direct.begin(&capabilities);
        let asked = next(&mut sent);
        assert_eq!(
            (&asked["method"], &asked["params"]),
            (&"prompts/list".into(), &json!({"_meta": {"a": 1}}))
        );
        let first = direct.page(List::Prompts, None);
        let mut first = pin!(first);
        assert!((&mut first).now_or_never().is_none() && sent.try_recv().is_err(), "asked before");
        let second = direct.page(List::Prompts, Some("\"2\"".into()));
        let mut second = pin!(second);
        assert!((&mut second).now_or_never().is_none());
        let asked_too = next(&mut sent);
        assert_eq!(asked_too["params"], json!({"_meta": {"a": 1}, "cursor": "\"2\""}));

        // In one batch, in another order, and with an id as a text.
        let text = json!([
            {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"},
            {"jsonrpc": "2.0", "id": asked_too["id"], "error": {"code": -32602, "message": "no"}},
            {"jsonrpc": "2.0", "id": asked["id"].to_string(),
                "result": {"prompts": [{"name": "p", "x": 1}, {"title": "t"}], "nextCursor": "n"}},
        ]);
        let read = incoming::read(text.to_string().as_bytes(), &pending, None);
        assert!(inbox.pass_on(read).await.is_ok());
        let page = first.await.expect("a page");
        assert_eq!((page.items.len(), page.warnings.len()), (1, 1));
        assert_eq!((&page.items[0]["x"], page.next.as_deref()), (&1.into(), Some("n")));
        let refused = second.await;
        assert!(matches!(refused, Err(CallFailure::Rejected { code: -32602, .. })), "{refused:?}");
        assert!(to_rmcp.try_recv().is_ok() && to_rmcp.try_recv().is_err());
        assert!(pending.oldest().is_none());
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_before_its_answer_is_cancelled() {
        let exchanges = Exchanges::new();
        let (direct, _outbox, mut sent, pending) = direct(&exchanges, "");
        assert!(direct.page(List::Tools, None).now_or_never().is_none());
        let asked = next(&mut sent);
        assert_eq!(asked["params"], json!({}));
        let told = next(&mut sent);
        assert_eq!(told["method"], "notifications/cancelled");
        assert_eq!(told["params"]["requestId"], asked["id"]);
        assert!(pending.oldest().is_none());
        let late =
            json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"tools": []}}).to_string();
        let read = incoming::read(late.as_bytes(), &pending, None);
        assert!(matches!(&read[..], [incoming::Incoming::Noise(_)]), "{read:?}");
    }

    #[tokio::test]
    async fn no_answer_comes_once_the_reader_has_ended_or_the_link_was_stopped() {
        let exchanges = Exchanges::new();
        let (direct, outbox, mut sent, pending) = direct(&exchanges, "");
        let mut open = pin!(direct.page(List::Tools, None));
        assert!((&mut open).now_or_never().is_none());
        pending.end();
        for gone in [open.await, direct.page(List::Tools, None).await] {
            assert!(matches!(gone, Err(CallFailure::Gone)), "{gone:?}");
        }
        while sent.try_recv().is_ok() {}
        direct.stop.request();
        assert!(matches!(direct.page(List::Tools, None).await, Err(CallFailure::Gone)));
        assert!(sent.try_recv().is_err(), "after the stop no message is sent");
        drop(outbox);
        assert!(matches!(direct.page(List::Tools, None).await, Err(CallFailure::Gone)));
    }
}
