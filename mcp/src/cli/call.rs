//! `moored-mcp call`: one tool of one server, its result on stdout.

mod target;

use std::process::ExitCode;
use std::time::Duration;

use moored_mcp::{
    CallError, CallOptions, ErrorReport, Policy, ServerParams, ServerReport, SessionGroup,
};
use serde_json::{Map, Value};

use super::args::CallArgs;
use super::output;
use super::render::words;
use super::run::{Ended, run_and_close};
use super::signals::Signals;
use super::{FAILED, WRONG_USE, source};
use target::Target;

/// The time limit of a tool if neither the command line nor the configuration sets one.
const UNLESS_SAID: Duration = Duration::from_secs(5);

/// The command line after reading.
struct Order {
    target: Target,
    arguments: Map<String, Value>,
    /// The servers that have to be started for it.
    servers: Vec<ServerParams>,
    options: CallOptions,
}

/// The outcome of the call, before the servers were left.
enum Called {
    /// The tool of the server `by` answered: its result, which may be an error of its own. Another list of the servers
    /// in `incomplete` failed, which the call did not need.
    Answer { result: Value, by: String, incomplete: Vec<String> },
    /// There is no result: the reason, a line each, and the exit status for it.
    Nothing { why: Vec<String>, status: u8 },
}

/// Runs the command.
pub(crate) async fn run(args: CallArgs) -> ExitCode {
    let order = match understand(&args) {
        Ok(order) => order,
        Err(why) => return end(&why, WRONG_USE),
    };
    // Caught once the file has been read, because it may be a pipe that nobody writes to.
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return end(&format!("cannot catch signals: {error}"), FAILED),
    };
    let group = SessionGroup::start(args.limits.options());
    let work = call(&group, order);
    let ended = run_and_close(&group, &mut signals, output::log, work).await;
    let caught = ended.caught;
    let told = output::aside(move || conclude(ended));
    match output::taken(&mut signals, caught, told).await {
        Ok(status) => status.unwrap_or(ExitCode::from(FAILED)),
        Err(signal) => signal.status(),
    }
}

/// Reads the command line and the configuration, and starts no server.
fn understand(args: &CallArgs) -> Result<Order, String> {
    let (config, tool, arguments) = args.understood()?;
    let arguments = match serde_json::from_str(arguments) {
        Ok(Value::Object(arguments)) => arguments,
        Ok(_) => return Err("the arguments must be one JSON object, such as '{}'".to_owned()),
        Err(error) => return Err(format!("the arguments are not valid JSON: {error}")),
    };
    let mut servers = match config {
        Some(path) => source::load(path)?,
        None => source::typed(&args.typed)?.into_iter().collect(),
    };
    for server in &mut servers {
        server.call_timeout.get_or_insert(UNLESS_SAID);
    }
    let options = CallOptions { timeout: args.timeout, ..CallOptions::default() };
    let (target, servers) = target::aim(tool, servers)?;
    Ok(Order { target, arguments, servers, options })
}

/// Connects, finds the tool, calls it.
async fn call(group: &SessionGroup, order: Order) -> Called {
    let Order { target, arguments, servers, options } = order;
    let connected = group.connect_many(servers, Policy::BestEffort).await;
    let mut why = Vec::new();
    let mut incomplete = Vec::new();
    for connected in connected {
        match connected {
            Ok(info) if info.list_error.is_some() => incomplete.push(info.name),
            Ok(_) => {}
            Err(error) => {
                why.push(words::failure(error.server(), error.outcome(), error.report()));
                why.extend(last_words(error.report()));
            }
        }
    }
    if !why.is_empty() {
        why.extend(target.advice());
        return Called::Nothing { why, status: FAILED };
    }
    let tool = match target.find(&group.list()) {
        Ok(tool) => tool,
        // The reason why a list failed is among the warnings.
        Err(why) if !incomplete.is_empty() => {
            return Called::Nothing { why: vec![why], status: FAILED };
        }
        Err(why) => return Called::Nothing { why: vec![why], status: WRONG_USE },
    };
    match group.call_tool(&tool.hooked, arguments, options).await {
        Ok(result) => Called::Answer { result, by: tool.server, incomplete },
        Err(error) => {
            let mut why = vec![words::chain(&error)];
            if let CallError::ServerGone { report, .. } = &error {
                why.extend(last_words(report));
            }
            Called::Nothing { why, status: FAILED }
        }
    }
}

/// The last output of the child, for a person to read.
fn last_words(report: &ErrorReport) -> impl Iterator<Item = String> {
    words::tail(report).into_iter().map(|line| format!("its stderr: {line}"))
}

/// Prints the outcome, and decides the exit status.
fn conclude(ended: Ended<Called>) -> ExitCode {
    output::warn_of(&ended.report.servers);
    let mut spared = Vec::new();
    let mut status = match ended.work {
        Some(Called::Answer { result, by, incomplete }) => {
            spared = incomplete;
            // It has answered. Whether it exits by itself after that, or when it is left, is chance.
            spared.push(by);
            // Indentation makes no difference to a program, and a person may be reading.
            output::print(&format!("{result:#}"));
            let tool_failed = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
            if tool_failed { FAILED } else { 0 }
        }
        Some(Called::Nothing { why, status }) => {
            why.iter().for_each(|line| output::complain(line));
            status
        }
        None => FAILED,
    };
    let left_unclean = ended.report.servers.iter().filter(|server| !server.leave.clean);
    for server in left_unclean {
        let how = words::verdict(&server.leave).join(", ");
        output::warn(&format!("server {:?} was left unclean: {how}", server.name));
    }
    if status == 0 {
        let well = |server: &&ServerReport| words::is_up(server) || spared.contains(&server.name);
        for server in ended.report.servers.iter().filter(|server| !well(server)) {
            for fault in words::faults(server) {
                output::complain(&format!("server {:?}: {fault}", server.name));
            }
            status = FAILED;
        }
        if !ended.report.clean {
            status = FAILED;
        }
    }
    ended.caught.map_or(ExitCode::from(status), |caught| caught.status())
}

fn end(why: &str, status: u8) -> ExitCode {
    output::complain(why);
    ExitCode::from(status)
}
