//! The bits of a region's state.

/// Cancelled itself: its run drops the body.
pub(super) const CANCELLED: u32 = 1;
/// The owner is recorded.
pub(super) const ENTERED: u32 = 1 << 2;
/// A `run` or a `close` polls it, so it can adopt.
pub(super) const ATTENDED: u32 = 1 << 3;
/// Closed for good.
pub(super) const LEFT: u32 = 1 << 4;
/// `adopted` or `records` is not empty.
pub(super) const INBOX: u32 = 1 << 5;
/// The run has to register its waker anew.
pub(super) const REWAKE: u32 = 1 << 6;
/// A task of its own: any task may poll it.
pub(super) const ROOT: u32 = 1 << 7;
/// Entered inside an exit: a cancellation outside the exit does not reach it.
pub(super) const SHELTERED: u32 = 1 << 8;
/// A time of the region has changed, and its run has not seen that yet.
pub(super) const DEADLINE: u32 = 1 << 9;
/// Linked into its parent, invariant 5.
pub(super) const LINKED: u32 = 1 << 10;
/// A stop was requested (R13).
pub(super) const STOP: u32 = 1 << 11;
/// Shielded: a cancellation outside does not drop it while it is polled (R12).
pub(super) const SHIELD: u32 = 1 << 12;
/// It, or a task around it, may have been given a clock of its own.
pub(super) const CLOCKED: u32 = 1 << 13;
/// A scope that became a stay in another one: its kind is [`Kind::Stay`].
pub(super) const STAY: u32 = 1 << 14;
/// New children inherit a cancellation that is not the region's own.
pub(super) const BELOW: u32 = 1 << 15;
/// A child on an executor: a poll of its group does not poll the child.
pub(super) const AFAR: u32 = 1 << 16;
/// Cancelled, and a shield inside has kept the body once: the children of the groups inside are cancelled (R12).
pub(super) const HELD: u32 = 1 << 17;
/// Entered by a call, with times that no run watches; see `time.rs`.
pub(super) const UNWATCHED: u32 = 1 << 18;
/// It, or a region around it, may have times; see `time.rs`.
pub(super) const TIMED: u32 = 1 << 19;
