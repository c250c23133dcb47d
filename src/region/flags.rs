//! The bits of a region's state.
//!
//! # Invariants
//!
//! 1. A bit changes only under the node's lock, by [`raise`](super::Node::raise) and [`lower`](super::Node::lower): a load, and
//!    a store with `Release`. No read-modify-write is needed, because the lock orders the changes.
//! 2. A thread that holds the lock reads the current value. Any other thread loads with `Acquire`: it sees each bit together
//!    with all that its setter wrote before, and may read a bit late. Code that must not miss a bit takes the lock, or
//!    registers for a wake-up first and loads after.
//! 3. `ENTERED`, `LEFT`, `CANCELLED`, `STOP`, `BELOW`, `STAY`, `TIMELESS` and `CLOCKED` stay set, the last one unless the region is handed
//!    over (invariant 1 of the room).
//!
//! Each bit below names the code that sets and clears it, and the code that depends on it.

/// The region itself is cancelled: its run drops the body.
///
/// Set by a request, `request::hear`, with the reason, before the waiters are taken. Read by the run after it has registered
/// its waker, by waits after they have registered, and by every look from inside.
pub(super) const CANCELLED: u32 = 1;
/// The owner, the place and the parent are recorded.
///
/// Set by the first use of the region (`enter`), or when its node is made entered (`enter::entered`,
/// `leave::mark_entered`, `stay::stay_in`). Read before any use, so that only the first one enters.
pub(super) const ENTERED: u32 = 1 << 2;
/// A `run` or a `close` polls the region, so it can adopt exits and record failures.
///
/// Set by `enter::attend`, or when its node is made for a run; cleared by `frame::detach`, which hands a region back. Read under
/// the lock by code that gives the region an exit (`inbox::adopt`) or a failure (`record::take_in`).
pub(super) const ATTENDED: u32 = 1 << 3;
/// The region is closed for good.
///
/// Set by `leave`, under the lock under which exits, inbox and waker were found empty or were taken. Read under the lock by
/// code that gives the region anything: it goes on to the next region outwards. Read without the lock by walks outwards,
/// which pass a region that was left.
pub(super) const LEFT: u32 = 1 << 4;
/// There are waves in `More::adopted` or failures in `Rest::sent`, for the run to take.
///
/// Set by `inbox::adopt`, `record::take_in` and `frame::detach`; cleared by `inbox::take_inbox`. Read by the run, after it has
/// registered its waker.
pub(super) const INBOX: u32 = 1 << 5;
/// The node has no waker of its run any more: the run has to register anew.
///
/// Set together with the take of the waker, by `request::take_run`, `inbox::adopt`, `record::take_in` and
/// `shields::wake_shields_below`; cleared by `frame::register_anew`. Read by the run in every poll.
pub(super) const REWAKE: u32 = 1 << 6;
/// The region is a task of its own: any task may poll it (R5).
///
/// Set when the region is entered, or is run where nothing is around it. Read by the run in every poll, before it compares the
/// owner.
pub(super) const ROOT: u32 = 1 << 7;
/// The region was entered inside an exit: a cancellation outside the exit does not reach it (R14).
///
/// Set when the region is entered, or handed over; cleared by `enter::take_over` and `stay::stay_in`. Read by every walk
/// outwards, which ends here.
pub(super) const SHELTERED: u32 = 1 << 8;
/// A time of the region has changed, and its run has not seen that yet.
///
/// Set by `time/settings`, by a stop with a grace, and when a node with a time is made; cleared by the run before it looks at the
/// times (`frame::poll_timers`), or by a run with a timer of its own (`lone`).
pub(super) const DEADLINE: u32 = 1 << 9;
/// The region is linked in the nearest region around it that can be cancelled, so a request there reaches it (invariant 5 of
/// the room).
///
/// Set by `links::link`, under the region's own lock; cleared when the region around is left (`links::unlink`) or when the region
/// moves. Read by `links::link_up`, which goes on outwards from a region that is linked.
pub(super) const LINKED: u32 = 1 << 10;
/// A stop was requested for the region itself (R13).
///
/// Set by `request::hear`. Read by waits for a stop after they have registered, and by every look from inside.
pub(super) const STOP: u32 = 1 << 11;
/// The region is a shield: a cancellation outside does not drop it while it is polled (R12).
///
/// Set before the region is entered; cleared by `shields::give_way`. Read by every walk outwards for a cancellation, which ends
/// here, and by the run, which holds the shield up in each poll.
pub(super) const SHIELD: u32 = 1 << 12;
/// The region, or a task around it, may have been given a clock of its own.
///
/// Set by `time/clock` and inherited at the entry; cleared by `enter::take_over`. Read before a walk outwards for the clock,
/// which is left out without it.
pub(super) const CLOCKED: u32 = 1 << 13;
/// The region is a stay: one of the runs inside a scope that was entered by a call, or the run of a scope that has another node.
///
/// Set by `stay::stay` and `stay::stay_in`. Read by signals and times, which a stay shares with its scope, and by
/// `links::is_linked_up`, because a stay is linked before there is a waiter.
pub(super) const STAY: u32 = 1 << 14;
/// Children inherit a cancellation that is not the region's own.
///
/// Set by `request::hear`. Read by a child before it is polled without a node, and by the group's run, which polls those
/// children.
pub(super) const BELOW: u32 = 1 << 15;
/// A child on an executor: a poll of its group does not poll the child.
///
/// Set when the child's node is made. Read by `links::put_into`, which links the group, and by the search for shields that a
/// poll may reach.
pub(super) const ON_EXECUTOR: u32 = 1 << 16;
/// The region is cancelled, and a shield inside has kept its body once: the children of the groups inside are cancelled (R12).
///
/// Set by `shields::hold`; cleared by `shields::give_way`. Read by a region that links itself later (`shields::held_around`).
pub(super) const HELD: u32 = 1 << 17;
/// The region was entered by a call and has times that no run watches (invariant 3 of `time`).
///
/// Set by `time/unwatched`, `time::tell_times` and a stop with a grace. Read by looks, which find such a region never quiet,
/// and by questions from outside, which read its clock.
pub(super) const UNWATCHED: u32 = 1 << 18;
/// The region, or a region around it, may have times (invariant 4 of `time`).
///
/// Set with a time, and by a look that meets one (`quiet::found_quiet`); never cleared. Read by waits, which look for a time only
/// with it.
pub(super) const TIMED: u32 = 1 << 19;
/// The body is being dropped because a region around is cancelled; the reason is in the node.
///
/// Set by `look::doom`, before the body is dropped; never cleared, because the region is left then. Read by looks from inside,
/// which end here.
pub(super) const DOOMED: u32 = 1 << 20;
/// Nothing but tasks is around the region, so no region around can be cancelled, and there is none to be linked in.
///
/// Set when the region is entered, or handed over; cleared by `enter::take_over` and `stay::stay_in`. Read by a region that would
/// link itself (`links::link_up`).
pub(super) const TOP: u32 = 1 << 22;
/// Walks outwards have left shortcuts in the region.
///
/// Set by `shortcut::seek` and `time/around`; never cleared. Read by walks, which look for a shortcut only with it.
pub(super) const SHORTCUT: u32 = 1 << 21;
/// The region was cancelled itself, and more than a few regions inside were told.
///
/// Set by `request::deliver_request`, after the last of them has heard; never cleared. Read by a signal from farther out, which
/// ends here.
pub(super) const CANCEL_TOLD: u32 = 1 << 1;
/// As `CANCEL_TOLD`, for a stop.
pub(super) const STOP_TOLD: u32 = 1 << 23;
/// The region's deadline and its stops cancel nothing any more: its body has ended, and the last child of a group has left
/// (invariant 5 of `time`).
///
/// Set by `frame::poll_leave`, and by `frame::end_times` in the other node of a scope that has two; never cleared. Read with the times, by the run, waits and questions.
pub(super) const TIMELESS: u32 = 1 << 24;

#[cfg(test)]
mod tests {
    #[test]
    fn each_flag_has_a_bit_of_its_own() {
        let bits = include_str!("flags.rs").lines().filter_map(|line| {
            let value = line.strip_prefix("pub(super) const ")?.split_once(" = 1")?.1;
            Some(value.strip_prefix(" << ").unwrap_or("0;").trim_end_matches(';').to_owned())
        });
        let mut bits: Vec<_> = bits.collect();
        let flags = bits.len();
        assert!(flags > 20, "{bits:?}");
        bits.sort();
        bits.dedup();
        assert_eq!(bits.len(), flags, "{bits:?}");
    }
}
