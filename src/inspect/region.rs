//! A region and an exit, as a snapshot shows them.

use crate::failure::counted;
use crate::lasting::Lasting;
use crate::names::described;
use crate::reason::Reason;
use crate::region::Phase;
use crate::region::register::{Found, FoundExit};
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// One open region.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Region {
    /// `task`, `cancel scope`, `shield`, `timeout`, `exit stack` or `task group`.
    pub kind: &'static str,
    /// The name it was given.
    pub name: Option<String>,
    /// The task that owns it, as texts show it; of a region that was released, until another task adopts it, the task
    /// that released it.
    pub owner: Option<String>,
    /// The place where it was entered: file, line, column.
    pub entered_at: String,
    /// The time since it was entered.
    pub open_for: Duration,
    /// Its current wait: its body, its children, or guards if no child is inside, exits that it adopted, or an exit of its
    /// own.
    pub waits_for: String,
    /// The duration of that wait.
    pub waiting_for: Duration,
    /// Whether its body has ended or was dropped, and its children or exits keep it open.
    pub leaving: bool,
    /// Whether it was cancelled itself.
    pub cancelled: bool,
    /// Whether it was asked to wind down.
    pub stopping: bool,
    /// The reason of its cancellation; else the task and place of the request to wind down.
    pub reason: Option<String>,
    /// Whether it holds against cancellation from outside.
    pub shielded: bool,
    /// Of a group: its `run` was dropped, and children on executors have not left.
    pub abandoned: bool,
    /// The time until its deadline, by its own clock: zero if the deadline has passed, `None` if the region is
    /// cancelled, or if its body has ended and no child of it is left.
    pub deadline_left: Option<Duration>,
    /// The rest of the grace that runs, after a stop or against a cancellation from outside.
    pub grace_left: Option<Duration>,
    /// The number of exits that are registered and have not begun.
    pub exits: usize,
    /// The exits that it runs: its own, and those that it adopted. Oldest first.
    pub running: Vec<Exit>,
    /// The number of regions around it.
    pub depth: usize,
    /// The regions that were entered inside it, oldest first; at a depth of 31 all regions inside it,
    /// at any depth.
    pub inside: Vec<Region>,
}

/// An exit that has begun and not ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exit {
    /// The region in which it was registered, most often a stack, as texts show it: `` exit stack `session` ``.
    pub stack: String,
    /// The task that owns that region, as texts show it.
    pub owner: Option<String>,
    /// The place where that region was entered: file, line, column.
    pub entered_at: String,
    /// The place where the exit was registered: file, line, column.
    pub registered_at: String,
    /// Its number among the exits of its stack, from 1, in the order in which they run.
    pub number: usize,
    /// The number of exits that the stack has had by now.
    pub of: usize,
    /// The time since it began.
    pub running_for: Duration,
    /// Whether its stack was dropped, so that another region or an executor runs it.
    pub adopted: bool,
    /// The reason why it runs.
    pub why: String,
    /// The rest of its grace, by its own clock; `None` if its stack has no grace.
    pub grace_left: Option<Duration>,
}

impl Region {
    /// `encloses` tells whether there are regions inside it; `clocks` has the present instant of each clock.
    pub(super) fn of(
        found: &Found,
        depth: usize,
        encloses: bool,
        running: Vec<Exit>,
        now: Instant,
        clocks: &[Option<Instant>],
    ) -> Self {
        Region {
            kind: found.kind.noun(),
            name: found.name.as_deref().map(str::to_owned),
            owner: found.owner.as_ref().map(ToString::to_string),
            entered_at: found.entered_at.map_or_else(String::new, ToString::to_string),
            open_for: now.saturating_duration_since(found.entered),
            waits_for: waits_for(found.phase, encloses, &running),
            waiting_for: now.saturating_duration_since(found.since),
            leaving: found.phase != Phase::Body,
            cancelled: found.cancelled.is_some(),
            stopping: found.stopped.is_some(),
            reason: reason(found),
            shielded: found.shielded,
            abandoned: found.left,
            deadline_left: left(found.deadline, clocks[found.clock]),
            grace_left: left(found.grace, clocks[found.clock]),
            exits: found.exits,
            running,
            depth,
            inside: Vec::new(),
        }
    }

    /// All values but the regions inside.
    pub(super) fn own_values(&self) -> Value {
        json!({
            "kind": self.kind,
            "name": self.name,
            "owner": self.owner,
            "entered_at": self.entered_at,
            "open_ms": millis(self.open_for),
            "waits_for": self.waits_for,
            "waiting_ms": millis(self.waiting_for),
            "leaving": self.leaving,
            "cancelled": self.cancelled,
            "stopping": self.stopping,
            "reason": self.reason,
            "shielded": self.shielded,
            "abandoned": self.abandoned,
            "deadline_left_ms": self.deadline_left.map(millis),
            "grace_left_ms": self.grace_left.map(millis),
            "exits": self.exits,
            "running": self.running.iter().map(Exit::values).collect::<Vec<_>>(),
            "depth": self.depth,
        })
    }

    /// Its kind and its name.
    pub(super) fn described(&self) -> String {
        described(self.kind, self.name.as_deref())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn left(until: Option<Instant>, now: Option<Instant>) -> Option<Duration> {
    Some(until?.saturating_duration_since(now?))
}

fn waits_for(phase: Phase, encloses: bool, running: &[Exit]) -> String {
    let adopted = || running.iter().filter(|exit| exit.adopted);
    match phase {
        Phase::Body => "its body".to_owned(),
        Phase::Children if encloses => "its children".to_owned(),
        // Its guards, or children that their executor has not polled yet: neither is a region.
        Phase::Children => "its children or guards".to_owned(),
        Phase::Exit(at) => format!("the exit registered at {at}"),
        Phase::Adopted => match (adopted().next(), adopted().count()) {
            (Some(exit), 1) => {
                format!(
                    "the exit of {} that it adopted, registered at {}",
                    exit.stack, exit.registered_at
                )
            }
            (Some(_), n) => format!("{n} exits that it adopted"),
            // Children of a group with a dropped run, or exits that an executor runs.
            (None, _) => "work that it adopted".to_owned(),
        },
    }
}

/// The beginning of the reason of a stop. It is left out in a line that says `stopping` already.
const ASKED: &str = "asked to wind down";

fn reason(found: &Found) -> Option<String> {
    let stopped = |reason: &Reason| format!("{ASKED}{}", reason.requested_by());
    found
        .cancelled
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| found.stopped.as_ref().map(stopped))
}

impl Exit {
    pub(super) fn of(found: &FoundExit, now: Instant, clocks: &[Option<Instant>]) -> Self {
        let running = &found.running;
        Exit {
            stack: found.home.clone(),
            owner: found.owner.as_ref().map(ToString::to_string),
            entered_at: found.entered_at.map_or_else(String::new, ToString::to_string),
            registered_at: running.registered_at.to_string(),
            number: running.number,
            of: running.number + found.rest,
            running_for: now.saturating_duration_since(running.since),
            adopted: found.adopted,
            why: running.why.to_text(),
            grace_left: left(running.due, clocks[found.clock]),
        }
    }

    pub(super) fn values(&self) -> Value {
        json!({
            "stack": self.stack,
            "owner": self.owner,
            "entered_at": self.entered_at,
            "registered_at": self.registered_at,
            "number": self.number,
            "of": self.of,
            "running_ms": millis(self.running_for),
            "adopted": self.adopted,
            "why": self.why,
            "grace_left_ms": self.grace_left.map(millis),
        })
    }
}

impl fmt::Display for Region {
    /// One line, without the regions inside and the exits that run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.described())?;
        if let Some(owner) = &self.owner {
            write!(f, " of {owner}")?;
        }
        write!(f, ", entered {:.1} ago at {}", Lasting(self.open_for), self.entered_at)?;
        for (applies, text) in [
            (self.shielded && self.kind != "shield", ", shielded"),
            (self.abandoned, ", its run was dropped"),
            (self.stopping, ", stopping"),
        ] {
            f.write_str(if applies { text } else { "" })?;
        }
        match (&self.reason, self.cancelled) {
            // The reason begins with the word `cancelled`.
            (Some(reason), true) => write!(f, ", {reason}")?,
            (Some(reason), false) => f.write_str(reason.strip_prefix(ASKED).unwrap_or(reason))?,
            (None, _) => {}
        }
        if let Some(left) = self.deadline_left {
            write!(f, ", deadline in {:.1}", Lasting(left))?;
        }
        if let Some(left) = self.grace_left {
            write!(f, ", grace ends in {:.1}", Lasting(left))?;
        }
        if self.exits > 0 {
            write!(f, ", {} to run", counted(self.exits, "exit"))?;
        }
        write!(f, ", waits {:.1} for {}", Lasting(self.waiting_for), self.waits_for)
    }
}

impl fmt::Display for Exit {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exit { number, of, stack, running_for, registered_at, .. } = self;
        write!(f, "exit {number} of {of} of {stack}")?;
        if let Some(owner) = &self.owner {
            write!(f, " of {owner}")?;
        }
        write!(f, ", runs {:.1}, registered at {registered_at}", Lasting(*running_for))?;
        if let Some(left) = self.grace_left {
            write!(f, ", grace ends in {:.1}", Lasting(left))?;
        }
        match self.adopted {
            true => {
                write!(f, ", adopted; its stack was entered at {}: {}", self.entered_at, self.why)
            }
            false => write!(f, ": {}", self.why),
        }
    }
}
