//! Requests that a server answers: calls, prompts, resources, completions.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, ClientRequest, CompleteRequestParams, CustomResult, InputResponses,
    Reference, RequestMetaObject, ServerResult,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::super::errand::{Errand, Questions, Way};
use super::super::fleet::Fleet;
use super::super::http::Taste;
use super::super::message::CAPABILITIES_KEY;
use super::super::results::{Kept, fit};
use super::super::{Core, errors};
use super::Front;
use super::running::{Came, Running};
use crate::callbacks::{LogLevel, Tag, Why};
use crate::component::ComponentKind;
use crate::error::CallError;
use crate::params::{CallOptions, CompleteArgs};

/// The number of steps of progress that wait for a slow client.
const PROGRESS: usize = 64;
/// The number of questions of a server that wait to be asked.
const QUESTIONS: usize = 16;
/// The prefix of the keys in `_meta` that are for the gateway and not for a server.
const OURS: &str = "io.modelcontextprotocol/";

/// A request to a server.
#[derive(Debug, Clone)]
enum Wanted {
    Call(String, Map<String, Value>),
    Prompt(String, Map<String, Value>),
    Read(String),
    Complete(ComponentKind, String, CompleteArgs),
}

/// Answers one request, or asks the client for more first.
pub(super) async fn answer(
    front: Front,
    request: ClientRequest,
    context: RequestContext<RoleServer>,
    modern: bool,
) -> Result<ServerResult, ErrorData> {
    let core = &front.core;
    let (wanted, again) = read(core, request)?;
    let kept = if let Wanted::Read(_) = wanted { Kept::Cacheable } else { Kept::Once };
    let is_call = matches!(wanted, Wanted::Call(..));
    let token = context.meta.get_progress_token();
    let log = if modern { log_level(&context)? } else { front.client.log_level() };
    let owner = &front.client.owner;
    let mut running = match again {
        Some((state, responses)) => {
            let mut running = core.resume(&state, owner, &wanted.what())?;
            running.answered(responses);
            running
        }
        None => begin(&front, wanted, &context, modern, log),
    };
    // Until the answer, which may come to another request than the one that began it.
    let _listed = front.client.reasons.listed(&context.id, &running.why);
    loop {
        // A client that has answered only some questions is asked for the rest.
        if running.is_asking() {
            let mut question = running.question();
            question.insert("requestState".into(), core.park(running, owner)?.into());
            return Ok(ServerResult::CustomResult(CustomResult(question.into())));
        }
        let result = match running.go_on(&context.peer, token.as_ref()).await {
            Came::To(result) => result.map_err(|error| errors::fit(error, modern))?,
            Came::Late(limit) => failed(is_call, errors::late(&running.what, limit))?,
            Came::Asking => continue,
        };
        return Ok(ServerResult::CustomResult(CustomResult(fit(result, modern, kept))));
    }
}

/// The input for a request that is resumed: its state, and the answers of its client.
type Again = (String, InputResponses);

/// The request to a server, and the request that it resumes.
fn read(core: &Arc<Core>, request: ClientRequest) -> Result<(Wanted, Option<Again>), ErrorData> {
    let again = |state: Option<String>, responses: Option<InputResponses>| {
        state.map(|state| (state, responses.unwrap_or_default()))
    };
    Ok(match request {
        ClientRequest::CallToolRequest(call) => {
            let it = call.params;
            let wanted = Wanted::Call(it.name.into_owned(), it.arguments.unwrap_or_default());
            (wanted, again(it.request_state, it.input_responses))
        }
        ClientRequest::GetPromptRequest(get) => {
            let it = get.params;
            let wanted = Wanted::Prompt(it.name, it.arguments.unwrap_or_default());
            (wanted, again(it.request_state, it.input_responses))
        }
        ClientRequest::ReadResourceRequest(read) => {
            let it = read.params;
            (Wanted::Read(it.uri), again(it.request_state, it.input_responses))
        }
        ClientRequest::CompleteRequest(complete) => (completion(core, complete.params)?, None),
        other => return Err(super::unknown(other.method())),
    })
}

/// Begins a request. The server is asked when it is polled.
fn begin(
    front: &Front,
    wanted: Wanted,
    context: &RequestContext<RoleServer>,
    modern: bool,
    log: Option<LogLevel>,
) -> Running {
    let (asking, asks) = mpsc::channel(QUESTIONS);
    let (telling, steps) = mpsc::channel(PROGRESS);
    let way = match (&wanted, modern) {
        (Wanted::Complete(..), true) => Way::None,
        (_, true) => Way::Answer(asking),
        (_, false) if context.extensions.get() == Some(&Taste::Object) => Way::None,
        (_, false) => Way::Request,
    };
    if let Some(level) = log.filter(|_| modern) {
        front.core.want_logs(level);
    }
    let (questions, why) = (Questions::default(), Why::default());
    let can = context.client_capabilities().unwrap_or_default();
    let mut meta = passed_on(&context.meta);
    meta.insert(CAPABILITIES_KEY.into(), answered_here(&can, &way));
    let errand = Errand {
        peer: context.peer.clone(),
        id: context.id.clone(),
        can,
        way,
        log,
        questions: questions.clone(),
    };
    let limit = front.core.fleet.limit(wanted.kind(), wanted.name());
    let mut options = CallOptions::default()
        .meta(meta)
        .tag(Tag::new(Arc::new(errand)).given_up_because(why.clone()))
        // A step more than the client can take in is left out.
        .on_progress(move |step| drop(telling.try_send(step.clone())));
    // The server's limit is measured here, because only here is it known whether the server waits for its client.
    options.timeout = Some(front.core.options.longest);
    let (fleet, what) = (front.core.fleet.clone(), wanted.what());
    let call = async move { fleet.ask(&wanted, options).await }.boxed();
    Running { what, call, asks, steps, limit, questions, why, open: BTreeMap::new(), asked: 0 }
}

/// The lowest level of the log messages that a request of the newer era asks for.
fn log_level(context: &RequestContext<RoleServer>) -> Result<Option<LogLevel>, ErrorData> {
    const KEY: &str = "io.modelcontextprotocol/logLevel";
    let Some(level) = context.meta.0.0.get(KEY) else { return Ok(None) };
    let unknown = |_| ErrorData::invalid_params(format!("{level} in {KEY} is no level"), None);
    serde_json::from_value(level.clone()).map(Some).map_err(unknown)
}

/// The questions that can be asked during a request, as the capabilities that a server of the newer era reads: it may do
/// without, and would ask in vain otherwise.
fn answered_here(can: &ClientCapabilities, way: &Way) -> Value {
    let mut asked = ClientCapabilities::default();
    if !matches!(way, Way::None) {
        asked.elicitation.clone_from(&can.elicitation);
        asked.sampling.clone_from(&can.sampling);
        asked.roots.clone_from(&can.roots);
    }
    json!(asked)
}

/// The client's metadata outside the protocol, which is passed on to the server.
fn passed_on(meta: &RequestMetaObject) -> Map<String, Value> {
    let ours = |key: &String| key == "progressToken" || key.starts_with(OURS);
    meta.0
        .0
        .iter()
        .filter(|(key, _)| !ours(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The request to complete an argument, with the group's name of the prompt or template. A client names a template by
/// its pattern.
fn completion(core: &Arc<Core>, params: CompleteRequestParams) -> Result<Wanted, ErrorData> {
    let (kind, name) = match params.r#ref {
        Reference::Prompt(prompt) => (ComponentKind::Prompt, prompt.name),
        Reference::Resource(resource) => {
            let templates = core.fleet.offered(ComponentKind::ResourceTemplate);
            let hooked = templates.into_iter().find(|it| it.wire == resource.uri);
            (ComponentKind::ResourceTemplate, hooked.map_or(resource.uri, |it| it.hooked))
        }
        _ => {
            let why = "what is completed here are arguments of prompts and of resource templates";
            return Err(ErrorData::invalid_params(why, None));
        }
    };
    let mut args = CompleteArgs::new(params.argument.name, params.argument.value);
    let context = params.context.and_then(|context| context.arguments);
    args.context = context.into_iter().flatten().collect();
    Ok(Wanted::Complete(kind, name, args))
}

impl Wanted {
    /// The request, as far as one that goes on with it has to be the same.
    fn what(&self) -> String {
        match self {
            Self::Call(name, args) => format!("call {name} {}", Value::Object(args.clone())),
            Self::Prompt(name, args) => format!("prompt {name} {}", Value::Object(args.clone())),
            Self::Read(uri) => format!("read {uri}"),
            Self::Complete(_, name, _) => format!("complete {name}"),
        }
    }

    /// The address of the resource that is to be read.
    fn uri(&self) -> Option<&str> {
        match self {
            Self::Read(uri) => Some(uri),
            _ => None,
        }
    }

    fn kind(&self) -> ComponentKind {
        match self {
            Self::Call(..) => ComponentKind::Tool,
            Self::Prompt(..) => ComponentKind::Prompt,
            Self::Read(_) => ComponentKind::Resource,
            Self::Complete(kind, ..) => *kind,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Call(name, _) | Self::Prompt(name, _) | Self::Read(name) => name,
            Self::Complete(_, name, _) => name,
        }
    }
}

impl Fleet {
    /// Sends the request to the server that has the component. If the server's first attempt is under way, waits for
    /// it. If the server is down, returns the reason.
    async fn ask(&self, wanted: &Wanted, options: CallOptions) -> Result<Value, ErrorData> {
        let mut result = self.ask_once(wanted, &options).await;
        let name = wanted.name();
        let server = self.server_of(name);
        let is_closing = matches!(result, Err(CallError::Closing(_))) && server.is_some();
        // A server that was never up was never asked.
        if (is_unknown(&result) || is_closing) && self.is_starting(server.as_deref()) {
            self.settled(server.as_deref()).await;
            result = self.ask_once(wanted, &options).await;
        }
        let error = match result {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        let away = server.and_then(|server| self.away(&server));
        let told = match (&error, away) {
            // The session is on its way up, or down, or forgotten. The caller needs the cause that keeps the server
            // away.
            (
                CallError::UnknownTool(_)
                | CallError::Unknown { .. }
                | CallError::Closing(_)
                | CallError::Left(_),
                Some(away),
            ) => errors::of_away(&away),
            (CallError::UnknownTool(_) | CallError::Unknown { .. }, None) => {
                return Err(errors::of_unknown(&error, wanted.uri(), &self.all_away()));
            }
            (CallError::Rejected { .. }, _) => return Err(errors::of_call(error)),
            _ => errors::of_call(error),
        };
        failed(matches!(wanted, Wanted::Call(..)), told)
    }

    async fn ask_once(&self, wanted: &Wanted, options: &CallOptions) -> Result<Value, CallError> {
        let (group, options) = (&self.group, options.clone());
        match wanted {
            Wanted::Call(name, args) => group.call_tool(name, args.clone(), options).await,
            Wanted::Prompt(name, args) => group.get_prompt(name, args.clone(), options).await,
            Wanted::Read(uri) => group.read_resource(uri, options).await,
            Wanted::Complete(kind, name, args) => {
                group.complete(*kind, name, args.clone(), options).await
            }
        }
    }
}

/// The result of a request that failed. An agent shows a failed call to its model, and gives up at an error of the protocol.
fn failed(is_call: bool, told: ErrorData) -> Result<Value, ErrorData> {
    if !is_call {
        return Err(told);
    }
    let mut result = json!({"content": [{"type": "text", "text": told.message}], "isError": true});
    if let Some(data) = told.data {
        result["_meta"] = json!({"moored/error": data});
    }
    Ok(result)
}

fn is_unknown(result: &Result<Value, CallError>) -> bool {
    matches!(result, Err(CallError::UnknownTool(_) | CallError::Unknown { .. }))
}
