//! One model of what regions promise, shared by the property test and the fuzz target.
//!
//! A seed is bytes; three of them are an operation. Each is done twice: by the crate ([`real`]), in a program whose
//! regions do what they are told, and by a small book-keeper ([`reference`]), which knows the rules and no futures. After
//! every operation the program is polled as an executor would, only while it is woken, and what happened is held against
//! what the reference allows and expects: which bodies live, which regions have returned, which exits began, in which
//! order, under whose identity, and that every failure is told exactly once.
//!
//! Bytes and not a derived type, so that a file of the fuzzer's corpus replays as a unit test on the stable toolchain.

mod real;
mod reference;

use moored::ReasonKind;
use real::{CallBack, Real};
use reference::Reference;

/// What a region is. `Loose` is a stack that is not run but used, and closed or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Root,
    Scope,
    /// A scope that is shielded.
    Shield,
    /// A scope that is shielded with a grace.
    Brief,
    Stack,
    Loose,
    Group,
    Child,
}

impl Kind {
    pub(crate) fn is_scope(self) -> bool {
        matches!(self, Kind::Scope | Kind::Shield | Kind::Brief)
    }
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

/// Why something is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) kind: ReasonKind,
    /// Which request it was, where that can be told.
    pub(crate) request: Option<usize>,
    /// The task that asked or failed, by its root.
    pub(crate) by: Option<RegionId>,
}

/// What an exit is told of why it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    Completed,
    Failed,
    Cancelled(Why),
    Panicked,
    Abandoned,
}

/// One step. Numbers are taken modulo what there is, so that every seed is a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// The body of a region opens another one inside.
    Enter(RegionId, Kind),
    Defer(RegionId, ExitPlan),
    /// Lends a value out, for the operation `PutBack`.
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
    /// The deadline of a scope is moved to the next tick of the clock, where others may be.
    Due(RegionId),
    /// Another task registers in a stack.
    Trespass(RegionId),
    /// Asks to wind down, without a grace: nobody here listens.
    Stop(RegionId),
    /// The body asks whether it is cancelled, and why.
    Look(RegionId),
    /// The body around lets go of a loose stack, which waits in the post.
    Release(RegionId),
    /// The body takes a stack out of the post.
    Adopt(RegionId, RegionId),
    /// The body takes a stack out of the post, and drops it as it is.
    Discard(RegionId, RegionId),
    /// A stack in the post is dropped outside every task.
    Mislay(RegionId),
    /// The clock moves on by a tick, which is as long as a grace.
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
        // New ones at the end, so that the seeds that were kept go on meaning what they did.
        match code % 26 {
            0 => Op::Enter(at, Kind::Scope),
            1 | 2 => Op::Enter(at, Kind::Stack),
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
            18 => Op::Stop(at),
            19 => Op::Enter(at, Kind::Shield),
            20 => Op::Look(at),
            21 => Op::Release(at),
            22 => Op::Adopt(at, usize::from(detail)),
            23 if detail & 128 != 0 => Op::Mislay(at),
            23 => Op::Discard(at, usize::from(detail)),
            24 => Op::Enter(at, Kind::Brief),
            _ => Op::Wait,
        }
    }
}

/// What happened in the real program, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// With what it is told, and as which task it runs, by its root.
    ExitBegan(ExitId, Because, Option<RegionId>),
    ExitEnded(ExitId),
    /// The exit registered another one in its stack; or was refused because the stack was left.
    Followed(ExitId, Option<ExitId>),
    /// A body was dropped or ended.
    BodyGone(RegionId),
    /// What a body saw: whether it is cancelled; and why, where its region has a handle that can be asked.
    Saw(RegionId, bool, Option<Option<Why>>),
    /// `run`, `close` or `join` returned or panicked.
    Returned(RegionId, Outcome),
    /// Somebody was told of a failure: "exit 7", "body 3".
    Told(String),
    ToldStillHeld,
    /// The same, of one that was not told of before, or was by a scope that had no record then.
    ToldStillHeldOrAgain,
    /// Somebody was told that an error was lost with the `run` that would have returned it.
    ToldUnclaimed,
    Lost(usize),
    Broken(String),
}

impl Event {
    /// Whether the program did something, instead of dropping something or telling of it.
    pub(crate) fn is_a_step(&self) -> bool {
        use Event::{ExitBegan, ExitEnded, Followed, Returned};
        matches!(self, ExitBegan(..) | ExitEnded(..) | Followed(..) | Returned(..))
    }
}

/// What `run` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    /// The body's own error, or a child's.
    Failed,
    Cancelled(Why),
    /// Nothing but exits failed.
    ExitsFailed,
    Panicked,
}

/// Runs the program of `seed` in both worlds, and panics where they differ.
pub(crate) fn check(seed: &[u8]) {
    let (head, ops) = seed.split_first().unwrap_or((&0, &[]));
    // A program that failed, such as while proptest makes it smaller, may have left some.
    let before = moored::testing::live_regions();
    // Not always: it takes time, and a program that is woken needlessly hides that it is not woken when it has to be.
    let mut real = Real::new(match head >> 5 {
        0 => CallBack::Asks,
        1 => CallBack::Wakes,
        _ => CallBack::No,
    });
    let mut reference = Reference::new();
    let mut done = Vec::new();
    settle(&mut real, &mut reference, &done);
    // A program of more than this shows nothing that a shorter one does not.
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
            // Everything is let go, and has to come to its end.
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
