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
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::Instant;

use super::attempt::{Context, Held};
use crate::duration::show_duration;
use crate::event::EventKind;
use crate::wire::body::clipped;
use crate::wire::notices::Notices;
use crate::wire::{CallFailure, Caller, HandedOver, ListenEnd, Listening, Question, Topic};

/// The number of tries to open a lost stream again.
const TRIES: u32 = 8;
/// The wait before the first try; it doubles from try to try.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// The limit for ending a subscription that nobody wants. Other changes of subscriptions wait for it.
const TAKE_BACK: Duration = Duration::from_secs(5);
/// A stream that was open this long resets the number of tries.
const HELD: Duration = Duration::from_secs(5);
/// The pause before a stream of lists is opened again that the server has ended; it doubles up to half an hour while the streams
/// are open for less time than that. Such a server is stopped behind a balancer, or limits the life of its streams.
const ENDED: Duration = Duration::from_secs(30);
const ENDED_LONGEST: Duration = Duration::from_secs(30 * 60);

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

impl Follower<'_> {
    /// Keeps the stream of a topic open: that of the lists as long as the server lets it be opened, and that of a resource until
    /// its subscription or the server ends it.
    async fn follow(self, topic: Topic, stream: Option<Listening>) {
        match &topic {
            Topic::Lists => {
                let mut pause = ENDED;
                loop {
                    let began = Instant::now();
                    if let Some(why) = self.until_it_ends(&topic, None).await {
                        let text = format!("the server reports no more changes of {topic}: {why}");
                        return self.held.recorder.warn(text);
                    }
                    if began.elapsed() >= pause {
                        pause = ENDED;
                    }
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(ENDED_LONGEST);
                }
            }
            Topic::Resource(uri) => {
                let mut subscribed = self.context.session.subscribed.subscribe();
                let why = tokio::select! {
                    biased;
                    _ = subscribed.wait_for(|subscribed| !subscribed.contains(uri)) => return,
                    why = self.until_it_ends(&topic, stream) => why,
                };
                self.given_up(uri, why.unwrap_or_else(|| "the server has ended it".to_owned()));
            }
        }
    }

    /// The notices, if they are not heard by our own transport.
    fn unheard(&self) -> Option<&Notices> {
        self.caller.is_adopted().then_some(&self.held.side.pending.notices)
    }

    /// Waits for the end of a topic, and returns the reason if it is a failure. A stream that breaks off is opened again.
    async fn until_it_ends(self, topic: &Topic, mut stream: Option<Listening>) -> Option<String> {
        let limit = self.context.shared.options.connect_timeout;
        let mut tries = 0;
        loop {
            let opened = match stream.take() {
                Some(stream) => Ok(stream),
                None => match tokio::time::timeout(limit, self.caller.listen(topic)).await {
                    Ok(opened) => opened.inspect(|stream| self.missed(topic, stream)),
                    Err(_) => {
                        return Some(format!(
                            "it was not acknowledged within {}",
                            show_duration(limit)
                        ));
                    }
                },
            };
            let began = Instant::now();
            let why = match opened {
                Ok(stream) => match stream.ended(self.unheard()).await {
                    ListenEnd::Graceful => return None,
                    ListenEnd::Lost(fault) => fault.line(),
                    ListenEnd::Gone => std::future::pending().await,
                },
                Err(CallFailure::Rejected { code, message, .. }) => {
                    return Some(format!(
                        "the server rejected it: {} (code {code})",
                        clipped(&message)
                    ));
                }
                Err(CallFailure::Failed(fault)) => fault.line(),
                // The owner is about to see the end of the session.
                Err(CallFailure::Gone) => std::future::pending().await,
            };
            if began.elapsed() >= HELD {
                tries = 0;
            }
            if tries == TRIES {
                return Some(format!("{why}; {TRIES} tries to open the stream again have failed"));
            }
            tokio::time::sleep(FIRST.saturating_mul(1 << tries).min(LONGEST)).await;
            tries += 1;
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
