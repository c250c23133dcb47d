//! The guide: concepts and recipes, in the order in which they are needed.
//!
//! Each page goes from the concept to its rules, from there to the usual pitfalls, and ends with recipes. Every program
//! on these pages is compiled and run by the tests. [`cheat_sheet`] and [`rules`] are for looking things up.
//!
//! | page | read it when |
//! |---|---|
//! | [`start`] | you have ten minutes |
//! | [`cancellation`] | something has to end early: deadlines, requests, shields, two phases |
//! | [`exits`] | something has to be undone: a transaction, a permit, a connection, a child process |
//! | [`groups`] | several things run at once |
//! | [`shutdown`] | a program has to end well when it is told to |
//! | [`libraries`] | you write a library that others build on |
//! | [`errors`] | you want `?` to work, or you read an error text of this crate |
//! | [`hangs`] | something does not end, and you want to know why |
//! | [`testing`] | you test code that uses this crate |
//! | [`loom`] | you model-check it |
//! | [`migrating`] | you come from tokio, tokio-util, AnyIO or Trio |
//! | [`cheat_sheet`] | you know it all and forgot a name |
//! | [`rules`] | a text cites R8, and you want to know its meaning |
//!
//! # Glossary
//!
//! - **task**: a future with an identity, which a region records as its owner.
//! - **region**: the object that a task enters and leaves: a task itself, a cancel scope, an exit stack, a task
//!   group.
//! - **enter**, **leave**: a region is entered once, at the first poll of its `run`, and left once, when its body is gone,
//!   its children have left and its exits have run.
//! - **owner**: the task that entered a region. Only the owner leaves the region.
//! - **exit**: async code that undoes something. Registered in a region, run when the region is left.
//! - **abandon**: to drop a region before its exits have run, as `select!` does with its losers.
//! - **adopt**: to take over abandoned exits. The nearest live region around adopts them, and is not left before they
//!   have run.
//! - **lost**: an exit that no region could adopt. It is reported, by name, and never silently.
//! - **stop**: to ask a region to wind down. **cancel**: to have its body dropped.

/// Ten minutes: one program, three nouns, one habit.
#[doc = include_str!("guide/start.md")]
pub mod start {}

/// Ending early: requests, deadlines, shields, and two phases.
#[doc = include_str!("guide/cancellation.md")]
pub mod cancellation {}

/// Clean-up that runs in every case.
#[doc = include_str!("guide/exits.md")]
pub mod exits {}

/// Several things at once, none of which outlives the others.
#[doc = include_str!("guide/groups.md")]
pub mod groups {}

/// Ending a whole program well.
#[doc = include_str!("guide/shutdown.md")]
pub mod shutdown {}

/// Building a library on this crate.
#[doc = include_str!("guide/libraries.md")]
pub mod libraries {}

/// Records of failures, `?`, and the texts of this crate's own errors.
#[doc = include_str!("guide/errors.md")]
pub mod errors {}

/// Finding the cause of a hang.
#[doc = include_str!("guide/hangs.md")]
#[doc = "\n<div>\n"]
// It has no blank line and no line break, because Markdown would begin a new paragraph there.
#[doc = include_str!("guide/timeline.svg")]
#[doc = "</div>"]
#[doc = ""]
#[doc = include_str!("inspect/cost.md")]
pub mod hangs {}

/// Testing without sleeping.
#[doc = include_str!("guide/testing.md")]
pub mod testing {}

/// Model-checking your own code with this crate inside.
#[doc = include_str!("guide/loom.md")]
pub mod loom {}

/// From tokio, tokio-util, AnyIO and Trio: each idiom, before and after.
#[doc = include_str!("guide/migrating.md")]
pub mod migrating {}

/// Everything on one page.
#[doc = include_str!("guide/cheat_sheet.md")]
pub mod cheat_sheet {}

/// The nineteen rules that docs, errors and tests cite.
#[doc = include_str!("guide/rules.md")]
pub mod rules {}
