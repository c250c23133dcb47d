//! The options of one request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::answer::Progress;
use crate::callbacks::Tag;

/// The options of one request: a call, a prompt, a resource, a completion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// The limit for the server to answer this request; the server's if `None`, and the group's if the server has none.
    ///
    /// A server of the newer era may answer that it needs input first. The time in which [callbacks](crate::Callbacks) give
    /// that input does not count, because a person may be asked, and the limit begins anew when the request is sent again.
    /// Only [`longest`](Self#structfield.longest) holds then. In the older era the server asks while the request is under way, and the
    /// time of the callbacks counts.
    pub timeout: Option<Duration>,
    /// If it is set, every notification of progress starts the limit anew, and this is the limit of the whole
    /// request, with the time of the callbacks.
    pub longest: Option<Duration>,
    /// The request's metadata outside the protocol, its `_meta`. The token of its progress is added to it.
    pub meta: Map<String, Value>,
    /// Called with the progress of the request, by the task that waits for its answer.
    pub on_progress: Option<OnProgress>,
    /// A value that comes with the server's requests and notifications on behalf of this request.
    pub tag: Option<Tag>,
    /// The number of times that the request is sent again, after the server has asked for input and the callbacks have
    /// answered; 10 if `None`.
    pub rounds: Option<u32>,
    /// The answers to the server's `inputRequests` of an earlier answer, by their keys.
    pub input_responses: Option<Map<String, Value>>,
    /// The `requestState` of that answer.
    pub request_state: Option<String>,
}

impl CallOptions {
    /// Limits the time in which the server has to answer: see the field [`timeout`](Self#structfield.timeout).
    pub fn timeout(limit: Duration) -> Self {
        Self { timeout: Some(limit), ..Self::default() }
    }

    /// Lets progress start the limit anew, up to `longest` in total.
    pub fn longest(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// Sends `meta` as the request's `_meta`.
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.meta = meta;
        self
    }

    /// Calls `each` with every step of progress that the server reports. It runs in the task that waits for the answer,
    /// in the order of the server's notifications and before the answer is returned. While it is behind by more than
    /// 64, newer notifications are left out.
    pub fn on_progress(mut self, each: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(OnProgress(Arc::new(each)));
        self
    }

    /// Sets the tag that comes with the server's requests and notifications on behalf of this request: see
    /// [`ServerMessage::tag`](crate::ServerMessage::tag).
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Bounds the number of times that the request is sent again. A server of the newer era may answer that it needs
    /// input first (`resultType: input_required`). If there are [callbacks](crate::Callbacks) for all of its requests,
    /// they are called, and the request is sent again with their answers. Otherwise, and with 0 rounds, that answer is
    /// the result: see [`ToolResult::needs_input`](crate::ToolResult::needs_input).
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = Some(rounds);
        self
    }

    /// Sets the answers to a server's `inputRequests`, by their keys.
    pub fn input_responses(mut self, responses: Map<String, Value>) -> Self {
        self.input_responses = Some(responses);
        self
    }

    /// Sets the `requestState` of the server's earlier answer, which the server needs back.
    pub fn request_state(mut self, state: impl Into<String>) -> Self {
        self.request_state = Some(state.into());
        self
    }
}

/// A callback for progress; see [`CallOptions::on_progress`].
#[derive(Clone)]
pub struct OnProgress(Arc<dyn Fn(&Progress) + Send + Sync>);

impl OnProgress {
    pub(crate) fn call(&self, progress: &Progress) {
        (self.0)(progress);
    }
}

impl std::fmt::Debug for OnProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnProgress")
    }
}

/// Equal if they are the same callback, not if they do the same.
impl PartialEq for OnProgress {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OnProgress {}

/// The argument for which [`complete`](crate::SessionGroup::complete) asks proposals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompleteArgs {
    /// Its name.
    pub argument: String,
    /// The text typed so far.
    pub value: String,
    /// Arguments that have their values already.
    pub context: BTreeMap<String, String>,
}

impl CompleteArgs {
    /// Proposals for `argument` that continue `value`.
    pub fn new(argument: impl Into<String>, value: impl Into<String>) -> Self {
        Self { argument: argument.into(), value: value.into(), context: BTreeMap::new() }
    }

    /// Sets the value that another argument has.
    pub fn given(mut self, argument: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.insert(argument.into(), value.into());
        self
    }
}
