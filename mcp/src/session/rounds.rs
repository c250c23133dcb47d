//! An answer that is not final: a server of the newer era asks for input before it answers.

use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::{Map, Value};

use crate::callbacks::Tag;
use crate::fault::Fault;
use crate::params::CallOptions;
use crate::report::Outcome;
use crate::wire::Input;
use crate::wire::desk::Desk;

/// The default for the number of times that a request is sent again.
const ROUNDS: u32 = 10;
/// The wait before a request is sent again if the server has asked for no input but sends a state; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// The rounds of one request.
#[derive(Debug)]
pub(super) struct Rounds {
    most: u32,
    over: u32,
    /// The number of last rounds in a row in which the server asked for no input.
    empty: u32,
}

/// The input that a server asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// A key, the method and the parameters of each request.
    requests: Vec<(String, String, Value)>,
    state: Option<String>,
    wait: Duration,
}

impl Rounds {
    pub(super) fn of(options: &CallOptions) -> Self {
        Self { most: options.rounds.unwrap_or(ROUNDS), over: 0, empty: 0 }
    }

    /// The input for which `answer` asks; `None` if it is a final answer, or if a request in it has no callback.
    pub(super) fn wanted(&mut self, answer: &Value, desk: &Desk) -> Option<Wanted> {
        if self.most == 0 || answer["resultType"] != "input_required" {
            return None;
        }
        let state = answer.get("requestState").and_then(Value::as_str).map(str::to_owned);
        let mut requests = Vec::new();
        if let Some(asked) = answer.get("inputRequests").filter(|asked| !asked.is_null()) {
            for (key, request) in asked.as_object()? {
                let method = request["method"].as_str()?.to_owned();
                let params = request.get("params").cloned().unwrap_or_default();
                if !desk.answers(&method, &params) {
                    return None;
                }
                requests.push((key.clone(), method, params));
            }
        }
        let wait = if requests.is_empty() {
            // Without either it would be the same request once more.
            state.as_ref()?;
            self.empty += 1;
            FIRST_WAIT.saturating_mul(1 << (self.empty - 1).min(8)).min(LONGEST_WAIT)
        } else {
            self.empty = 0;
            Duration::ZERO
        };
        self.over += 1;
        Some(Wanted { requests, state, wait })
    }

    /// Whether it has been sent again often enough.
    pub(super) fn are_over(&self) -> bool {
        self.over > self.most
    }

    /// Why it is not sent again.
    pub(super) fn fault(&self) -> Fault {
        let text = format!("the server asked for more input in {} answers in a row", self.over);
        Fault::new(Outcome::ProtocolError, text)
    }
}

impl Wanted {
    /// Lets the callbacks answer, side by side.
    ///
    /// # Errors
    ///
    /// The first callback that has no answer.
    pub(super) async fn given(self, desk: &Desk, tag: Option<&Tag>) -> Result<Input, Fault> {
        let Self { requests, state, wait } = self;
        if requests.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(Input { responses: None, state });
        }
        let each = requests.into_iter().map(|(key, method, params)| async move {
            let why = format!("the server asked for {method} before it answers");
            let Some(answer) = desk.ask(method, params, tag.cloned()) else {
                return Err(Fault::new(Outcome::Other, why));
            };
            match answer.given().await {
                Ok(answer) => Ok((key, answer)),
                Err(error) => Err(Fault::caused(Outcome::Other, why, error)),
            }
        });
        let responses: Map<String, Value> = try_join_all(each).await?.into_iter().collect();
        Ok(Input { responses: Some(responses), state })
    }
}
