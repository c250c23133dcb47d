//! The end of a pump that reads: the messages of a server are passed on to the session here.

use rmcp::model::ServerJsonRpcMessage;
use tokio::sync::mpsc;

use super::incoming::Incoming;
use super::pending::Pending;
use super::recorder::Recorder;
use super::said::said;
use super::unplaced::{Unplaced, decided};

/// The session of a transport, as the pump that reads the transport sees it.
pub(super) struct Inbox<'a> {
    pub(super) messages: mpsc::Sender<Box<ServerJsonRpcMessage>>,
    pub(super) pending: &'a Pending,
    pub(super) recorder: &'a Recorder,
    /// The name of the transport, in notes.
    pub(super) transport: &'static str,
    pub(super) unplaced: Unplaced,
}

/// The session takes no more messages.
pub(super) struct Over;

impl Inbox<'_> {
    /// Passes on the result of reading one text. Noise is noted; a text that is perhaps an answer is held.
    pub(super) async fn pass_on(&mut self, read: Vec<Incoming>) -> Result<(), Over> {
        for what in self.unplaced.refuted(self.pending) {
            self.note(&what);
        }
        for incoming in read {
            match incoming {
                Incoming::Noise(what) => self.note(&what),
                Incoming::Unplaced(answer) => {
                    if let Some(what) = self.unplaced.hold(answer) {
                        self.note(&what);
                    }
                }
                Incoming::Message(message, mark) => {
                    if let Some(mark) = mark {
                        self.recorder.warn(mark);
                    }
                    self.send(message).await?;
                }
            }
        }
        Ok(())
    }

    /// Ready when the time of a held answer is over; never if none is held.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn due(&self) {
        self.unplaced.due().await;
    }

    /// Decides about the held answers whose time is over; about all of them if no further answer comes.
    pub(super) async fn release(&mut self, is_end: bool) -> Result<(), Over> {
        for answer in self.unplaced.release(is_end) {
            match decided(answer, self.pending) {
                Ok(answer) => self.send(answer).await?,
                Err(what) => self.note(&what),
            }
        }
        Ok(())
    }

    async fn send(&self, mut message: ServerJsonRpcMessage) -> Result<(), Over> {
        self.recorder.secrets().hide_in(&mut message);
        if !self.recorder.is_connected()
            && let Some(said) = said(&message, self.recorder.secrets())
        {
            self.recorder.said(said);
        }
        let Some(message) = self.pending.hand_over(message) else { return Ok(()) };
        self.messages.send(Box::new(message)).await.map_err(|_| Over)
    }

    fn note(&self, what: &str) {
        self.recorder.note(format!("{what}, on {}", self.transport));
    }
}

impl Drop for Inbox<'_> {
    fn drop(&mut self) {
        self.pending.end();
    }
}
