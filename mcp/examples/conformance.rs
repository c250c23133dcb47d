//! The client that npm's conformance suite starts in client mode. The suite passes it an address, and a scenario in the
//! environment.
//!
//!     conformance client --command target/debug/examples/conformance --scenario auth/metadata-default
//!
//! It connects, answers the server's requests, calls every tool once, and leaves. It logs in without a browser: it
//! requests the address that a browser would open, and reads from the answer where the user would be sent.

use std::time::Duration;

use moored_mcp::{
    CallOptions, Callbacks, ComponentInfo, ComponentKind, ElicitAnswer, GroupOptions, HttpParams,
    OAuth, ServerParams, SessionGroup,
};
use serde_json::{Map, Value};

const CALLBACK: &str = "http://localhost:3000/callback";
/// The address that the suite accepts as that of the client's metadata.
const METADATA: &str = "https://conformance-test.local/client-metadata.json";

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let url = std::env::args().next_back().ok_or("the address of a server is expected")?;
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();

    let callbacks = Callbacks::new()
        .on_elicitation(async |_asked| Ok(ElicitAnswer::Accept(Map::new())))
        .on_url_elicitation(async |_asked| Ok(ElicitAnswer::Decline));
    let options =
        GroupOptions::default().callbacks(callbacks).connect_timeout(Duration::from_secs(60));
    let mut server = HttpParams::new(url);
    if scenario.starts_with("auth/") {
        server = server.oauth(oauth(&scenario, &context));
    }
    let group = SessionGroup::start(options);
    let up = group.connect(ServerParams::http("server", server)).await;
    if let Err(error) = &up {
        eprintln!("{}", error.report().chain.join(": "));
    }
    for (name, arguments) in calls(&group.components(ComponentKind::Tool), &context) {
        let answer = group.call_tool(&name, arguments, CallOptions::default()).await;
        match answer {
            Ok(answer) => println!("{name}: {answer}"),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    let report = group.close().await;
    up.map(drop).map_err(|error| error.to_string())?;
    if report.clean { Ok(()) } else { Err("it was not left cleanly".into()) }
}

/// The calls that the suite wants, or else one of each tool.
fn calls(tools: &[ComponentInfo], context: &Value) -> Vec<(String, Map<String, Value>)> {
    let Some(wanted) = context["toolCalls"].as_array() else {
        return tools.iter().map(|it| (it.hooked.clone(), arguments(&it.raw, tools))).collect();
    };
    let call = |call: &Value| {
        let tool = tools.iter().find(|tool| call["name"] == tool.wire)?;
        Some((tool.hooked.clone(), call["arguments"].as_object()?.clone()))
    };
    wanted.iter().filter_map(call).collect()
}

/// A value for each required argument.
fn arguments(tool: &Map<String, Value>, tools: &[ComponentInfo]) -> Map<String, Value> {
    let schema = tool.get("inputSchema");
    let required = schema.and_then(|schema| schema["required"].as_array()).into_iter().flatten();
    let value = |name: &str| match schema.and_then(|it| it["properties"][name]["type"].as_str()) {
        Some("number" | "integer") => Value::from(5),
        Some("boolean") => Value::from(true),
        // The tool that gives back a schema wants to see how the schema of another tool came.
        Some("object") if name == "schema" => {
            let schema = tools.first().and_then(|tool| tool.raw.get("inputSchema"));
            schema.cloned().unwrap_or_default()
        }
        _ => Value::from("ahoy"),
    };
    required.filter_map(Value::as_str).map(|name| (name.to_owned(), value(name))).collect()
}

fn oauth(scenario: &str, context: &Value) -> OAuth {
    let text = |field: &str| context[field].as_str().unwrap_or_default().to_owned();
    match scenario {
        "auth/client-credentials-basic" => {
            OAuth::client_secret(text("client_id"), text("client_secret"))
        }
        "auth/client-credentials-jwt" => OAuth::client_key(
            text("client_id"),
            text("private_key_pem"),
            context["signing_algorithm"].as_str().unwrap_or("ES256"),
        ),
        "auth/pre-registration" => {
            let secret = context["client_secret"].as_str().map(str::to_owned);
            user().registered(text("client_id"), secret)
        }
        _ => user().metadata_url(METADATA),
    }
}

/// Logs in like a user with a browser that follows the redirect at once.
fn user() -> OAuth {
    OAuth::user(CALLBACK, async |url| {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let answer = browser.build()?.get(url).send().await?;
        let location = answer.headers().get("location").ok_or("nobody is sent anywhere")?;
        Ok::<_, AnyError>(location.to_str()?.to_owned())
    })
}
