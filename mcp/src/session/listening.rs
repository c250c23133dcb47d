//! The streams on which a modern server reports changes, and the subscriptions that are renewed in another session.
//!
//! A server of the older era reports changes of its lists without a request, and changes of resources if its session has
//! a subscription. A modern server gets one request for its lists, and one for each resource with a subscription. Each
//! stays open as a stream.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::Map;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::Instant;

use super::attempt::{Context, Held};
use crate::duration::show_duration;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::report::Outcome;
use crate::wire::body::clipped;
use crate::wire::notices::Notices;
use crate::wire::{Beside, CallFailure, Caller, HandedOver, ListenEnd, Listening, Question, Topic};

/// The number of tries to open a lost stream again.
const TRIES: u32 = 8;
/// The wait before the first try; it doubles from try to try.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// The limit for ending a subscription that nobody wants. Other changes of subscriptions wait for it.
const TAKE_BACK: Duration = Duration::from_secs(5);
/// A stream that was open this long resets the number of tries.
const HELD: Duration = Duration::from_secs(5);
/// The pause before the stream of the lists is opened again that the server has ended, or that could not be opened; it doubles
/// while the streams are open for less time than that. Such a server is stopped behind a balancer, limits the life of its
/// streams, or is away for long.
const AWAY: Duration = Duration::from_secs(30);
const AWAY_LONGEST: Duration = Duration::from_secs(30 * 60);

/// Keeps the streams open, for ever. `before` has the subscriptions of the last start of the server, which are renewed: those
/// that users begin from now on come over `opened`.
pub(super) async fn listen(
    context: Context<'_>,
    held: &Held,
    caller: &Caller,
    mut opened: mpsc::UnboundedReceiver<HandedOver>,
    before: BTreeSet<String>,
) -> Infallible {
    let follower = Follower { context, held, caller };
    // Not children of a group, because each has a result that decides what comes next, and no exit.
    let mut streams = FuturesUnordered::new();
    if caller.tells_of_lists() {
        streams.push(follower.follow(Topic::Lists, None).boxed());
    }
    if caller.is_modern() {
        let follow = |uri| follower.follow(Topic::Resource(uri), None).boxed();
        streams.extend(before.into_iter().map(follow));
    } else if !before.is_empty() || caller.wants_log() {
        streams.push(follower.begin_again(before).boxed());
    }
    // A server that forgets each session at once is not given sessions without a pause.
    let mut next_ping = Instant::now();
    loop {
        tokio::select! {
            Some(handed_over) = opened.recv() => match handed_over {
                HandedOver::Stream(uri, listening) => {
                    streams.push(follower.follow(Topic::Resource(uri), Some(*listening)).boxed());
                }
                HandedOver::Unwanted(uri, alone) => streams.push(follower.end(uri, alone).boxed()),
            },
            () = held.side.pending.notices.a_renewal() => {
                let before = context.session.subscribed.borrow().clone();
                streams.push(follower.begin_again(before).boxed());
            }
            () = held.side.pending.notices.an_expiry() => {
                let at = next_ping.max(Instant::now());
                next_ping = at + AWAY;
                streams.push(follower.ping_at(at).boxed());
            }
            Some(()) = streams.next() => {}
        }
    }
}

/// The context of following a topic.
#[derive(Clone, Copy)]
struct Follower<'a> {
    context: Context<'a>,
    held: &'a Held,
    caller: &'a Caller,
}

/// The end of following a topic.
enum Ended {
    /// The server has ended the stream.
    InOrder,
    /// The stream is lost, and cannot be opened at the moment.
    Lost(Fault),
    /// The server has not acknowledged it in time.
    Late(Fault),
    /// The server does not let it be opened.
    Refused(Fault),
}

impl Ended {
    /// The reason.
    fn why(&self) -> String {
        match self {
            Self::InOrder => "the server has ended it".to_owned(),
            Self::Lost(fault) | Self::Late(fault) | Self::Refused(fault) => fault.line(),
        }
    }
}

impl Follower<'_> {
    /// Keeps the stream of a topic open: that of the lists as long as the server lets it be opened, and that of a resource until
    /// its subscription or the server ends it.
    async fn follow(self, topic: Topic, stream: Option<Listening>) {
        let Topic::Resource(uri) = &topic else { return self.follow_lists().await };
        let mut subscribed = self.context.session.subscribed.subscribe();
        let (ended, _) = tokio::select! {
            biased;
            _ = subscribed.wait_for(|subscribed| !subscribed.contains(uri)) => return,
            ended = self.until_it_ends(&topic, stream) => ended,
        };
        self.given_up(uri, ended.why());
    }

    async fn follow_lists(self) {
        let recorder = &self.held.recorder;
        let mut pause = AWAY;
        let mut is_away = false;
        loop {
            let (ended, open) = self.until_it_ends(&Topic::Lists, None).await;
            if open >= pause {
                (pause, is_away) = (AWAY, false);
            }
            let why = ended.why();
            match ended {
                Ended::InOrder => {}
                Ended::Refused(_) => {
                    let text = format!("the server reports no changes of its lists: {why}");
                    return recorder.warn(text);
                }
                Ended::Lost(_) | Ended::Late(_) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let what = "the server reports no changes of its lists for now";
                        recorder.warn(format!("{what}: {why}"));
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(AWAY_LONGEST);
        }
    }

    /// The notices, if they are not heard by our own transport.
    fn unheard(&self) -> Option<&Notices> {
        self.caller.is_adopted().then_some(&self.held.side.pending.notices)
    }

    /// Waits for the end of a topic; returns also the longest time for which a stream of it was open. A stream that breaks off
    /// is opened again.
    async fn until_it_ends(
        self,
        topic: &Topic,
        mut stream: Option<Listening>,
    ) -> (Ended, Duration) {
        let mut tries = 0;
        let mut longest = Duration::ZERO;
        loop {
            let opened = match stream.take() {
                Some(stream) => Ok(stream),
                None => self.open(topic).await,
            };
            let began = Instant::now();
            let ended = match opened {
                Ok(stream) => match stream.ended(self.unheard()).await {
                    ListenEnd::Graceful => Ended::InOrder,
                    ListenEnd::Lost(fault) => Ended::Lost(fault),
                    ListenEnd::Gone => std::future::pending().await,
                },
                Err(ended) => ended,
            };
            let open = began.elapsed();
            longest = longest.max(open);
            let Ended::Lost(fault) = ended else { return (ended, longest) };
            if open >= HELD {
                tries = 0;
            }
            if tries == TRIES {
                let remark = format!("{TRIES} tries to open the stream again have failed");
                return (Ended::Lost(fault.remarked(&remark)), longest);
            }
            let pause = FIRST.saturating_mul(1 << tries).min(LONGEST);
            tokio::time::sleep(pause.max(fault.wait.unwrap_or_default())).await;
            tries += 1;
        }
    }

    /// Opens the stream of a topic, or returns why it cannot be followed.
    async fn open(self, topic: &Topic) -> Result<Listening, Ended> {
        let limit = self.context.shared.options.connect_timeout;
        match tokio::time::timeout(limit, self.caller.listen(topic)).await {
            Ok(Ok(stream)) => {
                self.missed(topic, &stream);
                Ok(stream)
            }
            Ok(Err(CallFailure::Rejected { code, message, .. })) => {
                let text = format!("the server rejected it: {} (code {code})", clipped(&message));
                Err(Ended::Refused(Fault::new(Outcome::ProtocolError, text)))
            }
            Ok(Err(CallFailure::Failed(fault))) if fault.is_refusal => Err(Ended::Refused(fault)),
            Ok(Err(CallFailure::Failed(fault))) => Err(Ended::Lost(fault)),
            // The owner is about to see the end of the session.
            Ok(Err(CallFailure::Gone)) => std::future::pending().await,
            Err(_) => {
                let text = format!("it was not acknowledged within {}", show_duration(limit));
                Err(Ended::Late(Fault::new(Outcome::TimedOut, text)))
            }
        }
    }

    /// A stream was opened here. Notices of the time before are lost: of the lists since they were read, and of a resource
    /// since its subscription was interrupted.
    ///
    /// So the lists of each server with such a stream are read twice, once before users see the session and once here. Only a
    /// list that is requested after the acknowledgement has come is known to miss no change: the server may read the list, then
    /// change it, then begin to report. To wait for the acknowledgement before the first reading would cost each connect one
    /// more round trip, and as long as its time limit with a server that does not acknowledge.
    fn missed(self, topic: &Topic, stream: &Listening) {
        let notices = &self.held.side.pending.notices;
        match topic {
            Topic::Lists => notices.changed(stream.lists()),
            Topic::Resource(uri) => notices.updated(uri),
        }
    }

    /// Sends a request at this time, because the stream of the session was lost and the server has answered 404 to the
    /// request for the rest of it: if the server has forgotten the session, the request begins another one, with a stream of
    /// its own.
    async fn ping_at(self, at: Instant) {
        tokio::time::sleep_until(at).await;
        let ping = Question::Raw { method: "ping".to_owned(), params: Map::new() };
        let asking = self.caller.ask(ping, Beside::default());
        let _either =
            tokio::time::timeout(self.context.shared.options.connect_timeout, asking).await;
    }

    /// Renews the log level and these subscriptions in another session.
    async fn begin_again(self, before: BTreeSet<String>) {
        let limit = self.context.shared.options.connect_timeout;
        let leveled = tokio::time::timeout(limit, self.caller.send_log_level()).await;
        if !matches!(leveled, Ok(Ok(()) | Err(CallFailure::Gone))) {
            self.held.recorder.warn("the log level could not be set again".to_owned());
        }
        for uri in before {
            // Without the lock: the owner looks at the set; a user ends the subscription, and the server answers that; the
            // owner's question then begins it again, for nobody.
            let _alone = self.context.session.subscribing.lock().await;
            if !self.context.session.subscribed.borrow().contains(&uri) {
                continue;
            }
            let question = Question::Subscribe { uri: uri.clone() };
            let asking = self.caller.ask(question, Default::default());
            let why = match tokio::time::timeout(limit, asking).await {
                Ok(Ok(_)) => {
                    // Notices of the time without the subscription are lost.
                    self.held.side.pending.notices.updated(&uri);
                    continue;
                }
                Ok(Err(CallFailure::Gone)) => return,
                Ok(Err(CallFailure::Failed(fault))) => fault.line(),
                Ok(Err(CallFailure::Rejected { code, message, .. })) => {
                    format!("the server rejected it: {} (code {code})", clipped(&message))
                }
                Err(_) => format!("it was not answered within {}", show_duration(limit)),
            };
            self.given_up(&uri, why);
        }
    }

    /// Ends a subscription that a server of the older era may have, and that nobody wants. Its error is ignored, because it
    /// may not have the subscription.
    async fn end(self, uri: String, _alone: OwnedMutexGuard<()>) {
        // Twice, because over HTTP the request that was cut off may reach the server after the first of these.
        let asking = async {
            for _ in 0..2 {
                let question = Question::Unsubscribe { uri: uri.clone() };
                let _refused = self.caller.ask(question, Default::default()).await;
            }
        };
        let _too_late = tokio::time::timeout(TAKE_BACK, asking).await;
    }

    /// A subscription has ended without a call of `unsubscribe`.
    fn given_up(self, uri: &str, message: String) {
        let Context { session, shared, .. } = self.context;
        let was_wanted = session.subscribed.send_if_modified(|subscribed| subscribed.remove(uri));
        if was_wanted {
            session.tell(shared, || EventKind::SubscriptionEnded { uri: uri.to_owned(), message });
        }
    }
}
