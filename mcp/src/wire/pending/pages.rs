//! The requests for pages of lists that rmcp does not know of, and their answers.

use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use tokio::sync::oneshot;

use super::super::handshake::FIRST_ID;
use super::super::lists::{Findings, List};
use super::super::message::{Kind, answered_id};
use super::{Pending, Waiting};

/// The answer to a request for a page that rmcp does not know of.
#[derive(Debug)]
pub(in crate::wire) enum Paged {
    Page(Findings),
    Error(ErrorData),
}

impl Pending {
    /// Records a request for a page that rmcp does not know of, and that is about to be sent. Returns its id, and its answer;
    /// the answer fails once no more answers come.
    pub(in crate::wire) fn asks(&self, list: List) -> (i64, oneshot::Receiver<Paged>) {
        let (sender, answer) = oneshot::channel();
        let mut table = self.waiting.lock();
        table.sent += 1;
        // After those of the handshake, because rmcp counts its own.
        let id = table.highest[1].map_or(FIRST_ID, |highest| highest + 1);
        table.highest[1] = Some(id);
        let (kind, place) = (Kind::Request(list.method().to_owned()), table.sent);
        table.requests.insert(RequestId::Number(id), Waiting::for_nobody(kind, place));
        if !table.is_over {
            table.direct.insert(id, sender);
        }
        drop(table);
        self.sieve.watch_direct(RequestId::Number(id), list);
        (id, answer)
    }

    /// Hands over the answer to a request that rmcp does not know of; returns any other message.
    pub(in crate::wire) fn hand_over(
        &self,
        message: ServerJsonRpcMessage,
    ) -> Option<ServerJsonRpcMessage> {
        let Some(RequestId::Number(id @ FIRST_ID..)) = answered_id(&message) else {
            return Some(message);
        };
        let id = *id;
        let Some(asker) = self.waiting.lock().direct.remove(&id) else { return Some(message) };
        let answer = match message {
            ServerJsonRpcMessage::Error(error) => Some(Paged::Error(error.error)),
            _ => self.sieve.take_direct(id).map(Paged::Page),
        };
        // If the asker is gone, then so is the need for the answer.
        let _unwanted = answer.map(|answer| asker.send(answer));
        None
    }

    /// No more answers come.
    pub(in crate::wire) fn end(&self) {
        let mut table = self.waiting.lock();
        table.is_over = true;
        let unanswered = std::mem::take(&mut table.direct);
        drop(table);
        drop(unanswered);
    }
}
