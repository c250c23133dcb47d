//! An agent over a fleet of servers: the model gets every tool, calls some, reads their results, and answers.
//!
//! `cargo run -p moored-mcp --example agent -- servers.json "What is the time?"`
//!
//! The model is a stand-in that echoes. A real one is a client of your provider that implements [`Model`]: its
//! arguments have the form that the usual interfaces take.

use std::process::ExitCode;

use futures_util::future::join_all;
use moored_mcp::config::Config;
use moored_mcp::{
    CallOptions, CloseReport, ComponentKind, GroupOptions, Policy, SessionGroup, ToolResult,
};
use serde_json::{Map, Value, json};

/// The messages of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    /// By the user.
    User(String),
    /// By the model: a request to call a tool.
    Call(Call),
    /// By a tool: its result, or the failure of the call.
    Result { name: String, text: String, is_error: bool },
}

/// A tool, and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Map<String, Value>,
}

/// The next step of the model.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It wants these tools to be called, side by side.
    Call(Vec<Call>),
    /// It is done.
    Answer(String),
}

/// A language model.
pub(crate) trait Model {
    /// One turn. `tools` are objects with a name, a description and a schema of the arguments.
    async fn turn(&mut self, tools: &[Value], said: &[Message]) -> Turn;
}

/// A model that calls every tool `echo`, and answers with the results.
#[derive(Debug)]
pub(crate) struct Parrot;

impl Model for Parrot {
    async fn turn(&mut self, tools: &[Value], said: &[Message]) -> Turn {
        let heard = said.iter().filter_map(|message| match message {
            Message::Result { name, text, is_error: false } => Some(format!("{name} says {text}")),
            Message::Result { name, text, is_error: true } => {
                Some(format!("{name} failed: {text}"))
            }
            _ => None,
        });
        let heard: Vec<String> = heard.collect();
        if !heard.is_empty() {
            return Turn::Answer(heard.join("; "));
        }
        let Some(Message::User(question)) = said.first() else {
            return Turn::Answer("there was no question".into());
        };
        let names = tools.iter().filter_map(|tool| tool["name"].as_str());
        let echoes = names.filter(|name| name.ends_with("__echo"));
        let arguments = Map::from_iter([("message".to_owned(), json!(question))]);
        let calls = echoes.map(|name| Call { name: name.into(), arguments: arguments.clone() });
        Turn::Call(calls.collect())
    }
}

/// The largest number of turns of a conversation.
const TURNS: usize = 10;

/// Runs one conversation, until the model has an answer.
pub(crate) async fn ask(group: &SessionGroup, model: &mut impl Model, question: &str) -> String {
    let mut said = vec![Message::User(question.to_owned())];
    for _ in 0..TURNS {
        // Read anew for each turn, because a server may have come or gone.
        let tools: Vec<Value> = group
            .components(ComponentKind::Tool)
            .into_iter()
            .map(|tool| {
                json!({
                    "name": tool.hooked,
                    "description": tool.description,
                    "input_schema": tool.input_schema(),
                })
            })
            .collect();
        let calls = match model.turn(&tools, &said).await {
            Turn::Answer(answer) => return answer,
            Turn::Call(calls) => calls,
        };
        said.extend(calls.iter().cloned().map(Message::Call));
        said.extend(join_all(calls.into_iter().map(|call| result(group, call))).await);
    }
    format!("no answer after {TURNS} turns")
}

/// Calls a tool. A failure is a text for the model, which may try another tool.
async fn result(group: &SessionGroup, call: Call) -> Message {
    let Call { name, arguments } = call;
    let called = group.call_tool(&name, arguments, CallOptions::default()).await;
    let (text, is_error) = match called {
        Ok(raw) => match ToolResult::try_from(raw) {
            Ok(result) => (result.text(), result.is_error),
            Err(error) => (format!("the result cannot be read: {error}"), true),
        },
        Err(error) => (error.to_string(), true),
    };
    Message::Result { name, text, is_error }
}

/// Connects the fleet of a configuration, runs the conversation, and leaves the fleet in every case.
pub(crate) async fn run(
    config: Config,
    model: &mut impl Model,
    question: &str,
) -> (Option<String>, CloseReport) {
    let group = SessionGroup::start(GroupOptions::default());
    let work = async {
        for result in group.connect_many(config.servers, Policy::BestEffort).await {
            if let Err(error) = result {
                // A failed server is skipped, because the others may be enough.
                eprintln!("{error}");
            }
        }
        ask(&group, model, question).await
    };
    let answer = tokio::select! {
        answer = work => Some(answer),
        _ = tokio::signal::ctrl_c() => None,
    };
    (answer, group.close().await)
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(path), Some(question)) = (words.next(), words.next()) else {
        eprintln!("usage: agent CONFIG QUESTION");
        return ExitCode::FAILURE;
    };
    let config = match Config::load(path, |name| std::env::var(name)) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (answer, report) = run(config, &mut Parrot, &question).await;
    println!("{}", answer.as_deref().unwrap_or("interrupted"));
    for server in report.servers.iter().filter(|server| !server.leave.clean) {
        eprintln!("{}: not left cleanly: {:?}", server.name, server.leave);
    }
    if answer.is_some() && report.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
