//! The model of the regions' rules, shared by the property test and the fuzz target.
//!
//! A seed is a string of bytes; three bytes are an operation. Each operation is applied twice: to a program on the
//! crate ([`real`]), whose regions act on command, and to a reference ([`reference`]), which knows the rules and no
//! futures. After every operation the program is polled as an executor would, only while it is woken. Then its events
//! are compared with those that the reference allows and expects: which bodies live, which regions have returned, which
//! exits began, in which order, under which identity, and that every failure is reported exactly once.
//!
//! Seeds are bytes and not a derived type, so that a file of the fuzzer's corpus replays as a unit test on the stable
//! toolchain.

mod real;
mod reference;

use moored::ReasonKind;
use real::{CallBack, Real};
use reference::Reference;

/// The kind of a region. `Loose` is a stack that is not run: it is used, and then closed or
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Root,
    Scope,
    /// A scope that is shielded.
    Shield,
    /// A scope that is shielded with a grace.
    Brief,
    /// A future with a timeout, which has no handle.
    Timed,
    Stack,
    Loose,
    Group,
    /// A group that keeps going when a child fails.
    KeepsGoing,
    Child,
}

impl Kind {
    pub(crate) fn is_scope(self) -> bool {
        matches!(self, Kind::Scope | Kind::Shield | Kind::Brief)
    }

    pub(crate) fn is_group(self) -> bool {
        matches!(self, Kind::Group | Kind::KeepsGoing)
    }
}

/// The event that a task outside waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The region has less time than now.
    LessTime,
    /// The region has any deadline.
    Deadline,
    Cancelled,
    Stopped,
}

/// The use that is made of the handle of a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uses {
    Ask,
    Cancel,
    Stop,
    Await(Until),
}

/// How a body or an exit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fine,
    Error,
    Panic,
}

/// Whether an exit waits for a gate, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExitPlan {
    pub(crate) end: End,
    pub(crate) gated: bool,
    /// Registers another exit in its stack before it ends.
    pub(crate) then: bool,
}

/// A region, by the order of creation.
pub(crate) type RegionId = usize;
/// An exit, by the order of creation.
pub(crate) type ExitId = usize;

/// The reason of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) kind: ReasonKind,
    /// The number of the request, if the kind of reason has one.
    pub(crate) request: Option<usize>,
    /// The task that asked or failed, by its root region.
    pub(crate) by: Option<RegionId>,
}

/// The reason that an exit is given for running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    Completed,
    Failed,
    Cancelled(Why),
    Panicked,
    Abandoned,
}

/// One step. Numbers are taken modulo the number of candidates, so that every seed is a
/// program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// The body of a region enters another region inside.
    Enter(RegionId, Kind),
    Defer(RegionId, ExitPlan),
    /// Lends a value, for the operation `PutBack`.
    Hold(RegionId, ExitPlan),
    PutBack(ExitId),
    Cancel(RegionId),
    /// The body ends.
    Leave(RegionId, End),
    /// The body around drops the region's `run` or `close`, or the stack itself.
    Drop(RegionId),
    Spawn(RegionId),
    Close(RegionId),
    /// Opens the gate of an exit.
    Open(ExitId),
    /// The deadline of a scope is moved to now.
    Expire(RegionId),
    /// The deadline of a scope is moved to the next tick of the clock, where other deadlines
    /// may be.
    Due(RegionId),
    /// Another task registers an exit in a stack.
    Trespass(RegionId),
    /// Requests a stop; with a number, within a grace of so many ticks. No body of the model listens to it.
    Stop(RegionId, Option<usize>),
    /// The body asks whether it is cancelled, for which reason, whether it is asked to stop, and how long it has.
    Look(RegionId),
    /// The same questions to the region's handle, from outside every task.
    Ask(RegionId),
    /// A task outside waits for an event of the region.
    Await(RegionId, Until),
    /// A guard of a group is taken, and refused by a group that has closed.
    Guard(RegionId),
    /// The oldest guard of a group is dropped.
    Unguard(RegionId),
    /// The handle of the group's oldest guard is used.
    ByGuard(RegionId, Uses),
    /// A child is spawned from outside every task.
    Push(RegionId),
    /// A child without a handle is spawned.
    Detach(RegionId),
    /// The body around a loose stack releases it. The stack is then unowned.
    Release(RegionId),
    /// The body adopts an unowned stack.
    Adopt(RegionId, RegionId),
    /// The body takes an unowned stack, and drops it without adopting it.
    Discard(RegionId, RegionId),
    /// An unowned stack is dropped outside every task.
    Mislay(RegionId),
    /// The clock advances by a tick, which is as long as a grace.
    Wait,
}

impl Op {
    fn decode([code, at, detail]: [u8; 3]) -> Op {
        let at = usize::from(at);
        let end = match detail & 3 {
            0 | 1 => End::Fine,
            2 => End::Error,
            _ => End::Panic,
        };
        let plan = ExitPlan { end, gated: detail & 4 != 0, then: detail & 24 == 24 };
        let until = match detail & 192 {
            128 => Until::Cancelled,
            192 => Until::Stopped,
            _ if detail & 1 == 0 => Until::LessTime,
            _ => Until::Deadline,
        };
        // New operations come last, so that the seeds of the corpus keep their meaning.
        match code % 32 {
            0 if detail & 192 == 192 => Op::Enter(at, Kind::Timed),
            0 => Op::Enter(at, Kind::Scope),
            1 | 2 => Op::Enter(at, Kind::Stack),
            3 if detail & 128 != 0 => Op::Enter(at, Kind::KeepsGoing),
            3 => Op::Enter(at, Kind::Group),
            4 => Op::Enter(at, Kind::Loose),
            5..=7 => Op::Defer(at, plan),
            8 => Op::Hold(at, plan),
            9 => Op::PutBack(at),
            10 => Op::Cancel(at),
            11 => Op::Leave(at, end),
            12 => Op::Drop(at),
            13 => Op::Spawn(at),
            14 => Op::Close(at),
            15 => Op::Open(at),
            16 if detail & 128 != 0 => Op::Due(at),
            16 => Op::Expire(at),
            17 => Op::Trespass(at),
            18 => Op::Stop(at, [None, Some(0), Some(1), Some(2)][usize::from(detail & 3)]),
            19 => Op::Enter(at, Kind::Shield),
            20 => Op::Look(at),
            21 => Op::Release(at),
            22 => Op::Adopt(at, usize::from(detail)),
            23 if detail & 128 != 0 => Op::Mislay(at),
            23 => Op::Discard(at, usize::from(detail)),
            24 => Op::Enter(at, Kind::Brief),
            25 => Op::Wait,
            26 => Op::Ask(at),
            27 => Op::Await(at, until),
            28 => Op::Guard(at),
            29 if detail & 32 != 0 => Op::ByGuard(
                at,
                [Uses::Ask, Uses::Cancel, Uses::Stop, Uses::Await(until)]
                    [usize::from(detail >> 3 & 3)],
            ),
            29 => Op::Unguard(at),
            30 => Op::Push(at),
            _ => Op::Detach(at),
        }
    }
}

/// An event of the real program, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// With its reason, and the task as which it runs, by that task's root region.
    ExitBegan(ExitId, Because, Option<RegionId>),
    ExitEnded(ExitId),
    /// The exit registered another exit in its stack, or was refused because the stack was
    /// left.
    Followed(ExitId, Option<ExitId>),
    /// A body was dropped or ended.
    BodyGone(RegionId),
    /// The answers that a body or a handle of its region got.
    Saw(RegionId, Answers),
    /// The wait with this number, in the order of creation, has ended.
    Awaited(usize),
    /// A guard of the group was taken, or refused.
    Guarded(RegionId, bool),
    /// `run`, `close` or `join` returned or panicked.
    Returned(RegionId, Outcome),
    /// A failure was reported: "exit 7", "body 3".
    Told(String),
    ToldStillHeld,
    /// The same, where the report may be the second: a scope without a record may have reported
    /// the value before.
    ToldStillHeldOrAgain,
    /// An error was reported as unclaimed, because the `run` that would have returned it was
    /// dropped.
    ToldUnclaimed,
    Lost(usize),
    Broken(String),
}

impl Event {
    /// Whether the event is a step of the program, and not a drop or a report.
    pub(crate) fn is_a_step(&self) -> bool {
        use Event::{ExitBegan, ExitEnded, Followed, Returned};
        matches!(self, ExitBegan(..) | ExitEnded(..) | Followed(..) | Returned(..))
    }
}

/// The answers to the questions about a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) cancelled: bool,
    /// The reason, if the region has a handle.
    pub(crate) why: Option<Option<Why>>,
    pub(crate) stopped: bool,
    /// The tick at which the region is cancelled at the latest.
    pub(crate) deadline: Option<usize>,
}

/// The result of `run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    /// The body's own error, or a child's.
    Failed,
    Cancelled(Why),
    /// Only exits failed.
    ExitsFailed,
    Panicked,
}

/// Runs the program of `seed` on the crate and in the reference, and panics where they differ.
pub(crate) fn check(seed: &[u8]) {
    let (head, ops) = seed.split_first().unwrap_or((&0, &[]));
    // A program that failed earlier in this process, as while proptest shrinks it, may have
    // left some.
    let before = moored::testing::live_regions();
    // Not in every program: it takes time, and a program that is woken without need hides a missing wake-up.
    let mut real = Real::new(match head >> 5 {
        0 => CallBack::Asks,
        1 => CallBack::Wakes,
        _ => CallBack::No,
    });
    let mut reference = Reference::new();
    let mut done = Vec::new();
    settle(&mut real, &mut reference, &done);
    // Longer programs have shown no fault that a shorter program does not.
    for op in ops.chunks_exact(3).take(120) {
        let op = Op::decode([op[0], op[1], op[2]]);
        if let Some(op) = reference.apply(op) {
            done.push(op);
            real.apply(op, &reference);
            settle(&mut real, &mut reference, &done);
        }
    }
    match head % 4 {
        0 => {
            // The executor drops the task.
            reference.drop_root();
            real.drop_root();
            settle(&mut real, &mut reference, &done);
            for op in reference.put_everything_back() {
                real.apply(op, &reference);
            }
        }
        _ => {
            // Every region is ended, and must come to its end.
            while let Some(op) = reference.let_go() {
                done.push(op);
                real.apply(op, &reference);
                settle(&mut real, &mut reference, &done);
            }
        }
    }
    real.join_children();
    settle(&mut real, &mut reference, &done);
    if let Err(wrong) = reference.finish() {
        panic!("{wrong}\nat the end of{}", lines(&done));
    }
    drop(real);
    let left = moored::testing::live_regions();
    assert_eq!(left, before, "regions live on (R19) after{}", lines(&done));
}

fn settle(real: &mut Real, reference: &mut Reference, done: &[Op]) {
    let events = real.drain();
    let seen = format!("{events:?}");
    if let Err(wrong) = reference.observe(events) {
        panic!("{wrong}\nseen last: {seen}\nafter{}", lines(done));
    }
}

fn lines(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("\n  {op:?}")).collect()
}
