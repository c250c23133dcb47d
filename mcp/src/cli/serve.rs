//! `moored-mcp serve`: the servers of a configuration behind one endpoint.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::process::ExitCode;

use moored::CancelScope;
use moored_mcp::config::show_duration;
use moored_mcp::{CloseReport, Event, EventKind, Gateway, GatewayOptions, ServerParams};
use tokio::net::TcpListener;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::args::ServeArgs;
use super::progress::log;
use super::render::words;
use super::signals::{Caught, Signals};
use super::{FAILED, WRONG_USE, output, render, source, unread};

/// Runs the command.
pub(crate) async fn run(args: ServeArgs) -> ExitCode {
    let options = match options(&args) {
        Ok(options) => options,
        Err(why) => return end(&why, WRONG_USE),
    };
    let servers = match source::load(&args.config) {
        Ok(servers) => servers,
        Err(why) => return end(&why, WRONG_USE),
    };
    // Caught once the file has been read, because it may be a pipe that nobody writes to.
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return end(&format!("cannot catch signals: {error}"), FAILED),
    };
    // Before anything is started: an address that is taken is no reason to start and leave ten servers.
    let listener = match args.listen {
        Some(address) => match TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(error) => return end(&format!("cannot listen on {address}: {error}"), FAILED),
        },
        None => None,
    };

    let gateway = Gateway::open(args.group_options(), options);
    let logging = CancelScope::new().named("log of events");
    let logged = logging.handle();
    let events = gateway.group().events();
    tokio::spawn(async move {
        let _cancelled = logging.run(follow(events)).await;
    });
    warn_of_duplicates(&servers);
    gateway.keep(servers);
    let over_http = listener.is_some();
    let mut serving = std::pin::pin!(serve(&gateway, listener, &args));
    let served = tokio::select! {
        served = &mut serving => served.map(|()| None),
        caught = signals.next() => Ok(Some(caught)),
    };
    let mut leaving = std::pin::pin!(leave(&gateway, &mut signals, &served));
    let (report, forced) = tokio::select! {
        biased;
        left = &mut leaving => left,
        // A client at the pipe gets the answers that come in time, so it is served until the gateway has closed.
        _ = &mut serving, if matches!(served, Ok(Some(_))) => leaving.await,
    };
    logged.cancel();
    tell(&report, over_http, args.json);
    let Ok(_) = served else { return ExitCode::from(FAILED) };
    match forced {
        Some(caught) => caught.status(),
        None if report.clean => ExitCode::SUCCESS,
        None => ExitCode::from(FAILED),
    }
}

/// Serves the listener, or the client at the standard streams, until that fails or the gateway closes.
async fn serve(
    gateway: &Gateway,
    listener: Option<TcpListener>,
    args: &ServeArgs,
) -> Result<(), String> {
    let Some(listener) = listener else {
        tokio::select! {
            () = gateway.serve_pipe(tokio::io::stdin(), tokio::io::stdout()) => {}
            // The drop of the other branch cancels the requests of a client that gets no answer any more.
            () = unread::stdout() => {}
        }
        return Ok(());
    };
    if let Ok(address) = listener.local_addr() {
        announce(address, args);
    }
    let served = gateway.serve_http(listener).await;
    served.map_err(|error| format!("cannot listen any more: {error}"))
}

/// The gateway leaves out a server with the name of an earlier one.
fn warn_of_duplicates(servers: &[ServerParams]) {
    let mut names = HashSet::new();
    for twice in servers.iter().filter(|server| !names.insert(&server.name)) {
        let name = &twice.name;
        output::warn(&format!("the name {name:?} is there twice: the later entry is not started"));
    }
}

/// Leaves everything; a signal that comes meanwhile forces, and is returned.
async fn leave(
    gateway: &Gateway,
    signals: &mut Signals,
    served: &Result<Option<Caught>, String>,
) -> (CloseReport, Option<Caught>) {
    match served {
        Ok(Some(caught)) => output::log(&format!(
            "{}: ending the requests and leaving the servers; once more to kill them",
            caught.name()
        )),
        Ok(None) => {}
        Err(why) => output::log(why),
    }
    let mut close = std::pin::pin!(gateway.close());
    let mut forced = None;
    // A client that closed the pipe may send a signal soon after: that is how stdio servers are left. It is no second one.
    let mut patience = usize::from(matches!(served, Ok(None)));
    loop {
        tokio::select! {
            biased;
            report = &mut close => return (report, forced),
            caught = signals.next() => {
                if patience > 0 {
                    patience -= 1;
                    continue;
                }
                output::log(&format!("{}: killing what is left", caught.name()));
                forced = forced.or(Some(caught));
                gateway.force();
            }
        }
    }
}

/// The gateway as it was asked for.
fn options(args: &ServeArgs) -> Result<GatewayOptions, String> {
    let mut options = GatewayOptions::default();
    options.path = args.path.clone();
    if !options.path.starts_with('/') {
        return Err(format!("--path is {:?}, and a path begins with a slash", args.path));
    }
    unreachable(args)?;
    if args.drain >= args.limits.budget {
        let (drain, budget) = (show_duration(args.drain), show_duration(args.limits.budget));
        return Err(format!(
            "--drain {drain} leaves nothing of --budget {budget} for leaving the servers"
        ));
    }
    (options.drain, options.settle) = (args.drain, args.settle);
    options = options.unread_for(args.unread).on_dropped(output::log);
    (options.sessions, options.body_limit) = (args.max_sessions.get().into(), args.max_body.get());
    options.allowed_hosts.clone_from(&args.allow_host);
    options.allowed_origins.clone_from(&args.allow_origin);
    if let Some(name) = &args.token_env {
        let token = std::env::var(name).ok().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| format!("--token-env names {name}, which is not set"))?;
        options = options.token(token);
    }
    match args.listen {
        Some(address) if !address.ip().is_loopback() && options.token.is_none() => Err(format!(
            "{address} can be reached from other machines: that takes a token (--token-env), and the names \
             that clients use (--allow-host)"
        )),
        _ => Ok(options),
    }
}

/// Refuses options that no request could ever match.
///
/// # Errors
///
/// One sentence, which names the option.
fn unreachable(args: &ServeArgs) -> Result<(), String> {
    let path = &args.path;
    if !path.parse::<http::Uri>().is_ok_and(|uri| uri.path() == path) {
        return Err(format!("--path is {path:?}, which is no path as requests write it"));
    }
    if path.trim_end_matches('/') == "/health" {
        return Err("--path is /health, where the gateway tells how the servers are doing".into());
    }
    if let Some(wrong) = args.allow_origin.iter().find(|it| !is_origin(it)) {
        return Err(format!(
            "--allow-origin is {wrong:?}, and an origin is a scheme and a name, such as https://app.example"
        ));
    }
    if let Some(wrong) = args.allow_host.iter().find(|it| !is_name(it)) {
        return Err(format!("--allow-host is {wrong:?}, and it takes a name without a port"));
    }
    Ok(())
}

/// Whether a page can have this origin. `null` is that of a page without an address.
fn is_origin(text: &str) -> bool {
    let rest = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
    let is_host = |rest: &str| {
        !rest.is_empty() && !rest.contains(['/', '?', '#', '@', '*']) && !rest.contains(' ')
    };
    text == "null" || rest.is_some_and(|(_, rest)| is_host(rest))
}

/// Whether `Host` can contain this name.
fn is_name(text: &str) -> bool {
    let host = text.parse::<http::uri::Authority>();
    !text.contains('*') && host.is_ok_and(|host| host.host() == text)
}

/// Prints the address of the endpoint: on stdout, unless that is for one JSON object.
fn announce(address: SocketAddr, args: &ServeArgs) {
    let line = format!("listening on http://{address}{}", args.path);
    if args.json { output::complain(&line) } else { output::print(&line) }
}

/// Prints each change of a server's state on stderr.
async fn follow(mut events: Receiver<Event>) {
    // A server that is down is tried again and again, and fails in the same way.
    let mut last: HashMap<String, String> = HashMap::new();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        match &event.kind {
            EventKind::Leaving(_) => continue,
            // Of an attempt that failed it is enough to say why.
            EventKind::Left(report) if !words::was_up(report) => continue,
            _ => {}
        }
        let Some(line) = log::line(&event.kind) else { continue };
        let name = event.name.to_string();
        if last.insert(name.clone(), line.clone()) != Some(line.clone()) {
            output::log(&format!("{name}: {line}"));
        }
    }
}

/// Prints the report: on stdout over HTTP, and on stderr over stdio, because stdout carries the protocol.
fn tell(report: &CloseReport, over_http: bool, json: bool) {
    let text = if json {
        serde_json::to_string_pretty(report)
            .unwrap_or_else(|error| format!("the report is no JSON: {error}"))
    } else {
        render::table::render(report, output::width())
    };
    output::last(move || if over_http { output::print(&text) } else { output::lines(&text) });
}

fn end(why: &str, status: u8) -> ExitCode {
    output::complain(why);
    ExitCode::from(status)
}
