//! Requests that a server answers: calls, prompts, resources, completions.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::{
    ClientRequest, CompleteRequestParams, CustomResult, ProgressNotificationParam, ProgressToken,
    Reference, RequestMetaObject, ServerResult,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::super::results::{Kept, fit};
use super::super::{Core, errors};
use super::Front;
use crate::answer::Progress;
use crate::component::ComponentKind;
use crate::error::CallError;
use crate::params::{CallOptions, CompleteArgs};

/// The number of steps of progress that wait for a slow client.
const PROGRESS: usize = 64;
/// What a request says of itself for the gateway alone begins with this.
const OURS: &str = "io.modelcontextprotocol/";

/// A request to a server.
#[derive(Debug, Clone)]
enum Wanted {
    Call(String, Map<String, Value>),
    Prompt(String, Map<String, Value>),
    Read(String),
    Complete(ComponentKind, String, CompleteArgs),
}

/// Answers one request.
pub(super) async fn answer(
    front: Front,
    request: ClientRequest,
    context: RequestContext<RoleServer>,
    modern: bool,
) -> Result<ServerResult, ErrorData> {
    let core = &front.core;
    let wanted = match request {
        ClientRequest::CallToolRequest(call) => {
            Wanted::Call(call.params.name.into_owned(), call.params.arguments.unwrap_or_default())
        }
        ClientRequest::GetPromptRequest(get) => {
            Wanted::Prompt(get.params.name, get.params.arguments.unwrap_or_default())
        }
        ClientRequest::ReadResourceRequest(read) => Wanted::Read(read.params.uri),
        ClientRequest::CompleteRequest(complete) => completion(core, complete.params)?,
        other => return Err(super::unknown(other.method())),
    };
    let kept = if let Wanted::Read(_) = wanted { Kept::Cacheable } else { Kept::Once };
    let mut options = CallOptions::default().meta(passed_on(&context.meta));
    options.longest = Some(core.options.longest);
    let told = context.meta.get_progress_token().map(|token| {
        let (sender, steps) = mpsc::channel(PROGRESS);
        (token, sender, steps)
    });
    let result = match told {
        None => core.ask(&wanted, options).await,
        Some((token, sender, steps)) => {
            // A step more than the client can take in is left out.
            options = options.on_progress(move |step| drop(sender.try_send(step.clone())));
            // The sender goes with the request; the telling ends when what was sent has been told.
            let telling = tell(context.peer.clone(), token, steps);
            tokio::join!(core.ask(&wanted, options), telling).0
        }
    };
    match result {
        Ok(result) => Ok(ServerResult::CustomResult(CustomResult(fit(result, modern, kept)))),
        Err(error) => Err(error),
    }
}

/// Tells a client of the progress of its request, in order.
async fn tell(peer: Peer<RoleServer>, token: ProgressToken, mut steps: mpsc::Receiver<Progress>) {
    while let Some(step) = steps.recv().await {
        let mut told = ProgressNotificationParam::new(token.clone(), step.progress);
        (told.total, told.message) = (step.total, step.message);
        if peer.notify_progress(told).await.is_err() {
            return;
        }
    }
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
    fn name(&self) -> &str {
        match self {
            Self::Call(name, _) | Self::Prompt(name, _) | Self::Read(name) => name,
            Self::Complete(_, name, _) => name,
        }
    }
}

impl Core {
    /// Asks the server that has what is wanted. One that is still on its way up is waited for; one that is down is told of.
    async fn ask(&self, wanted: &Wanted, options: CallOptions) -> Result<Value, ErrorData> {
        let mut result = self.ask_once(wanted, &options).await;
        let name = wanted.name();
        let server = self.fleet.server_of(name);
        if is_unknown(&result) && self.fleet.is_starting(server.as_deref()) {
            self.fleet.settled(server.as_deref()).await;
            result = self.ask_once(wanted, &options).await;
        }
        let error = match result {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        let told = if let CallError::UnknownTool(_) | CallError::Unknown { .. } = &error {
            match server.and_then(|server| self.fleet.away(&server)) {
                Some(away) => errors::of_away(&away),
                None => return Err(errors::of_unknown(&error, &self.fleet.all_away())),
            }
        } else if let CallError::Rejected { .. } = &error {
            return Err(errors::of_call(error));
        } else {
            errors::of_call(error)
        };
        match wanted {
            // An agent shows a failed call to its model, and gives up at an error of the protocol.
            Wanted::Call(..) => Ok(json!({
                "content": [{"type": "text", "text": told.message}],
                "isError": true,
                "_meta": {"moored/error": told.data},
            })),
            _ => Err(told),
        }
    }

    async fn ask_once(&self, wanted: &Wanted, options: &CallOptions) -> Result<Value, CallError> {
        let (group, options) = (&self.fleet.group, options.clone());
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

fn is_unknown(result: &Result<Value, CallError>) -> bool {
    matches!(result, Err(CallError::UnknownTool(_) | CallError::Unknown { .. }))
}
