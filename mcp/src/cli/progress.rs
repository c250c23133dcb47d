//! Progress: a live tree on a terminal, plain lines in a pipe, nothing for a program.
//!
//! It is written by a thread of its own, because a reader that takes nothing for a while, such as a pager or a stopped
//! terminal, must delay neither the servers nor the answer to a signal.

mod live;
pub(crate) mod log;

use indicatif::MultiProgress;
use moored::{CancelHandle, CancelScope};
use moored_mcp::{Event, ServerParams, SessionGroup};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::JoinHandle;

use super::output::{self, Audience};
use super::timeline::Timeline;
use live::Live;
use log::Log;
pub(crate) use log::line;

/// A view of events.
pub(crate) trait View: Send {
    /// Shows an event.
    fn show(&mut self, event: &Event);
    /// The last event was shown; the report comes next.
    ///
    /// # Errors
    ///
    /// A sentence for a person, if the view could not write its output.
    fn end(&mut self) -> Result<(), String>;
}

/// Views that follow a group in a thread of their own.
#[derive(Debug)]
pub(crate) struct Progress {
    following_on: CancelHandle,
    following: JoinHandle<Option<Result<(), String>>>,
    bars: Option<MultiProgress>,
}

impl Progress {
    /// Follows `group` from now on; call it before a server is connected. With `--json` no events are shown, except on
    /// stderr if the doctor watches. Otherwise `headline` comes first.
    pub(crate) fn follow(
        group: &SessionGroup,
        servers: &[ServerParams],
        headline: String,
        audience: Audience,
        watch: bool,
        timeline: Option<Timeline>,
    ) -> Self {
        let mut views: Vec<Box<dyn View>> = Vec::new();
        // First, so that the file has what the others show.
        if let Some(timeline) = timeline {
            views.push(Box::new(timeline));
        }
        let bars = (audience == Audience::Terminal).then(MultiProgress::new);
        let drawn = bars.clone();
        let servers = servers.to_vec();
        let on = CancelScope::new().named("progress");
        let following_on = on.handle();
        let (events, runtime) = (group.events(), Handle::current());
        let following = tokio::spawn(output::aside(move || {
            if audience != Audience::Machine {
                output::print(&headline);
            }
            match (audience, drawn) {
                (Audience::Machine, _) if watch => {
                    views.push(Box::new(Log::new(&servers, output::lines, true)))
                }
                (Audience::Machine, _) => {}
                (Audience::Terminal, drawn) => {
                    views.push(Box::new(Live::new(&servers, drawn.unwrap_or_default())))
                }
                (Audience::Pipe, _) => {
                    views.push(Box::new(Log::new(&servers, output::print, watch)))
                }
            }
            runtime.block_on(follow(views, events, on))
        }));
        Self { following_on, following, bars }
    }

    /// Prints a text on stderr without damage to the live view. It is left out if nobody reads stderr at the moment.
    pub(crate) fn notice(&self, text: &str) {
        if !output::stderr_is_read() {
            return;
        }
        let above = self.bars.as_ref().map(|bars| bars.println(output::signed(text)));
        if !matches!(above, Some(Ok(()))) {
            output::complain(text);
        }
    }

    /// Shows the remaining events, and makes room for the report.
    ///
    /// # Errors
    ///
    /// The error of a view.
    pub(crate) async fn finish(self) -> Result<(), String> {
        self.following_on.cancel();
        self.following.await.ok().flatten().unwrap_or_else(|| Err("events were lost".to_owned()))
    }
}

async fn follow(
    mut views: Vec<Box<dyn View>>,
    mut events: Receiver<Event>,
    on: CancelScope,
) -> Result<(), String> {
    let mut show = |event: &Event| views.iter_mut().for_each(|view| view.show(event));
    let following = async {
        loop {
            match events.recv().await {
                Ok(event) => show(&event),
                // A view that cannot keep up shows less; the report is complete anyway.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    };
    // Cancelled when the report is ready. Events that were sent by then are shown below.
    let _ended = on.run(following).await;
    loop {
        match events.try_recv() {
            Ok(event) => show(&event),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    views.iter_mut().try_for_each(|view| view.end())
}
