//! Progress: a live tree on a terminal, plain lines in a pipe, nothing for a program.

mod live;
pub(crate) mod log;

use indicatif::MultiProgress;
use moored_mcp::{Event, ServerParams, SessionGroup};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::output::{self, Audience};
use live::Live;
use log::Log;

/// A view of events.
trait View: Send {
    /// Shows an event.
    fn show(&mut self, event: &Event);
    /// The last event was shown; the report comes next.
    fn end(&mut self);
}

/// A view that follows a group in a task of its own.
#[derive(Debug)]
pub(crate) struct Progress {
    following: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    bars: Option<MultiProgress>,
}

impl Progress {
    /// Follows `group` from now on; call it before a server is connected.
    pub(crate) fn follow(
        group: &SessionGroup,
        servers: &[ServerParams],
        audience: Audience,
    ) -> Self {
        let (view, bars): (Box<dyn View>, _) = match audience {
            Audience::Machine => return Self { following: None, bars: None },
            Audience::Terminal => {
                let bars = MultiProgress::new();
                (Box::new(Live::new(servers, bars.clone())), Some(bars))
            }
            Audience::Pipe => (Box::new(Log::new(servers)), None),
        };
        let (ended, end) = oneshot::channel();
        let task = tokio::spawn(follow(view, group.events(), end));
        Self { following: Some((ended, task)), bars }
    }

    /// Prints a text on stderr without damage to the live view.
    pub(crate) fn notice(&self, text: &str) {
        let above = self.bars.as_ref().map(|bars| bars.println(output::signed(text)));
        if !matches!(above, Some(Ok(()))) {
            output::complain(text);
        }
    }

    /// Shows the remaining events, and makes room for the report.
    pub(crate) async fn finish(self) {
        if let Some((ended, task)) = self.following {
            // Either may have ended before: then no event is left to show.
            let _gone = ended.send(());
            let _gone = task.await;
        }
    }
}

async fn follow(
    mut view: Box<dyn View>,
    mut events: Receiver<Event>,
    mut end: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => view.show(&event),
                // A view that cannot keep up shows less; the report is complete anyway.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
            _ = &mut end => break,
        }
    }
    loop {
        match events.try_recv() {
            Ok(event) => view.show(&event),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    view.end();
}
