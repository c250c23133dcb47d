//! `moored-mcp doctor`: connects to all servers, leaves all, and reports each outcome.

use std::collections::HashSet;
use std::process::ExitCode;

use console::Style;
use moored_mcp::{CloseReport, Event, EventKind, Policy, ServerParams, SessionGroup};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::args::DoctorArgs;
use super::output::{self, Audience};
use super::progress::Progress;
use super::render::fold::fold;
use super::run::run_and_close;
use super::signals::{Caught, Signals};
use super::timeline::Timeline;
use super::{FAILED, WRONG_USE, render, source, unread};
use crate::fleet::Fleet;
use crate::fleet::planted::Verdict;

/// Runs the command.
pub(crate) async fn run(args: DoctorArgs) -> ExitCode {
    let audience = Audience::find(args.json);
    let configured = match configured(&args) {
        Ok(configured) => configured,
        Err(why) => return wrong(&why),
    };
    // Caught once the files have been read, because a file may be a pipe that nobody writes to, and before anything is
    // started.
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot catch signals: {error}")),
    };
    let (servers, fleet) = match configured {
        Some(servers) => (servers, None),
        None => match Fleet::start().await {
            Ok(fleet) => (fleet.servers().to_vec(), Some(fleet)),
            Err(error) => return fail(&format!("cannot start the embedded fleet: {error}")),
        },
    };
    let timeline = match args.timeline.as_deref().map(|path| Timeline::create(path, &servers)) {
        Some(Ok(timeline)) => Some(timeline),
        Some(Err(why)) => return wrong(&why),
        None => None,
    };

    let headline = fold(&headline(&servers, fleet.is_some()), "", "", output::width()).join("\n");
    let group = SessionGroup::start(args.limits.options());
    let progress = Progress::follow(&group, &servers, headline, audience, args.watch, timeline);
    let none_left = none_left(group.events(), servers.len());
    let work = async {
        connect(&group, servers, args.policy()).await;
        if args.watch {
            progress.notice("watching the servers; Ctrl-C leaves them");
            tokio::select! {
                () = none_left => {}
                // Of a pipeline that has ended nobody sees an event, and nobody presses Ctrl-C.
                () = unread::stdout() => {}
            }
        }
    };
    let ended = run_and_close(&group, &mut signals, |text| progress.notice(text), work).await;
    let (caught, left) = (ended.caught, ended.report);
    let told = async {
        let shown = progress.finish().await;
        output::aside(move || tell(&left, audience, shown, caught, fleet.is_some())).await
    };
    match output::taken(&mut signals, caught, told).await {
        Ok(status) => status.unwrap_or(ExitCode::from(FAILED)),
        Err(signal) => signal.status(),
    }
}

/// Writes all that is left to say. Returns the exit status.
fn tell(
    left: &CloseReport,
    audience: Audience,
    shown: Result<(), String>,
    caught: Option<Caught>,
    is_fleet: bool,
) -> ExitCode {
    report(left, audience);
    if let Err(why) = shown {
        return fail(&why);
    }
    if let Some(caught) = caught {
        return caught.status();
    }
    let well = if is_fleet { compare(left, audience) } else { left.all_well() };
    if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// The servers that were asked for; `None` is the embedded fleet.
fn configured(args: &DoctorArgs) -> Result<Option<Vec<ServerParams>>, String> {
    if let Some(server) = source::typed(&args.typed)? {
        return Ok(Some(vec![server]));
    }
    if args.configs.is_empty() {
        return Ok(None);
    }
    source::load_all(&args.configs).map(Some)
}

/// Reports whether the diagnoses of the embedded fleet are the planted ones.
fn compare(report: &CloseReport, audience: Audience) -> bool {
    let verdict = Verdict::of(report);
    let (right, width) = (verdict.is_right(), output::width());
    let lines = verdict.lines().into_iter();
    match audience {
        // Stdout is for the report alone.
        Audience::Machine if right => {}
        Audience::Machine => lines.for_each(|line| output::complain(line.trim_start())),
        Audience::Terminal | Audience::Pipe => {
            let colour = if right { Style::new().green() } else { Style::new().red() };
            let colour = if audience == Audience::Terminal { colour.bold() } else { Style::new() };
            for line in lines.flat_map(|line| fold(&line, "", "    ", width)) {
                output::print(&colour.apply_to(line).to_string());
            }
        }
    }
    right
}

/// Connects until every server has an outcome.
///
/// That is sooner than [`SessionGroup::connect_many`] returns, because that also waits for the
/// clean-up of failed attempts. For the doctor that clean-up is a part of leaving: the other
/// servers need not wait for it, and its time belongs to that phase.
async fn connect(group: &SessionGroup, servers: Vec<ServerParams>, policy: Policy) {
    let settled = settled(group.events(), servers.len());
    let group = group.clone();
    // In a task of its own, because dropping it would interrupt the clean-up of failed
    // attempts.
    let connecting = tokio::spawn(async move { group.connect_many(servers, policy).await });
    tokio::select! {
        _ = connecting => {}
        () = settled => {}
    }
}

/// Ready when each of `count` servers has come up or failed; never if events were missed.
async fn settled(mut events: Receiver<Event>, count: usize) {
    let mut waiting: HashSet<usize> = (0..count).collect();
    while !waiting.is_empty() {
        match events.recv().await {
            Ok(event) => {
                if let EventKind::Up(_) | EventKind::Failed { .. } = event.kind {
                    waiting.remove(&event.index);
                }
            }
            Err(_) => std::future::pending().await,
        }
    }
}

/// Ready when all of `count` servers have been left; perhaps never, if events were missed.
async fn none_left(mut events: Receiver<Event>, count: usize) {
    let mut connected: HashSet<usize> = (0..count).collect();
    while !connected.is_empty() {
        match events.recv().await {
            Ok(Event { index, kind: EventKind::Left(_), .. }) => {
                connected.remove(&index);
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn headline(servers: &[ServerParams], embedded: bool) -> String {
    let count = render::words::count(servers.len(), "server");
    if embedded {
        format!("no configuration given: the embedded fleet, {count}, 3 faulty on purpose")
    } else {
        format!("connecting to {count}")
    }
}

fn report(report: &CloseReport, audience: Audience) {
    // The tree shows them in their places already, on the same terminal.
    if audience != Audience::Terminal {
        output::warn_of(&report.servers);
    }
    match audience {
        Audience::Machine => match serde_json::to_string_pretty(report) {
            Ok(json) => output::print(&json),
            Err(error) => output::complain(&format!("the report is no JSON: {error}")),
        },
        Audience::Terminal => output::print(&render::tree::render(report, output::width())),
        Audience::Pipe => output::print(&render::table::render(report, output::width())),
    }
}

/// Something was asked for in the wrong way, and nothing was started.
fn wrong(why: &str) -> ExitCode {
    output::complain(why);
    ExitCode::from(WRONG_USE)
}

fn fail(why: &str) -> ExitCode {
    output::complain(why);
    ExitCode::from(FAILED)
}
