//! The harness of the benches: contenders take turns, round by round, in one process.
//!
//! Why not criterion: it finishes one contender before it starts the next, so a disturbance of the machine hits one
//! contender and not the other. Only ratios within one run mean anything on a shared machine. Here every round runs
//! each contender once (A B C A B C …), and a ratio is taken round by round. Nor does criterion count allocations,
//! which are exact where times are not.
//!
//! The targets are in `benches/src/bin/regions`, one for each question that a user asks. Each writes its rows to
//! `target/bench/<target>.jsonl`, and `page.py` makes `docs/benchmarks.md` out of them.

mod allocations;
mod drive;
pub mod floor;
mod json;
mod pair;
mod peers;
mod question;
mod watch;

pub use allocations::{Allocations, COUNTS, allocations};
pub use drive::{Wakes, finish, inside_a_task, inside_scopes, poll, poll_with, yield_once};
pub use pair::on_two_threads;
pub use peers::{ChildTokens, Runtimes, caught};
pub use question::{Bench, Question};
pub use watch::Watch;
