//! The private node that all regions share: identity, parent, cancellation, exits, adoption.
//!
//! Thin public types wrap it: a scope, a stack, a group and a task are a `Node` each, and a [`Frame`] polls it.
//! A node outlives its region if a handle or a child still points at it.
//!
//! # Invariants
//!
//! 1. `ENTERED`, `LEFT`, `CANCELLED` and `STOP` are set once and never cleared. Each is stored under the
//!    node's lock, so that a thread that holds the lock reads the current value.
//! 2. A node with `LEFT` has no exits, no adopted waves and no waker of a run, and gets none: code that
//!    adds one does so under the lock, after it has read `LEFT`. So an exit that is handed over meets a
//!    region that will run it, or goes on to the next (R8).
//! 3. The parent is set when the region is entered. It changes only when the region is handed over (R4),
//!    or to skip ancestors that were left: the effective parent is the nearest live ancestor (R1).
//! 4. `inner.waker` wakes the `run` that attends the node. A thread that takes it sets `REWAKE`, and
//!    the run registers anew at its next poll.
//! 5. Every cancellation of an ancestor reaches a node that is linked. It only makes the node look: the state
//!    is never copied, because a region that was only lent survives the region it was lent to (R7). Only
//!    children of a group and stays in a scope are cancelled themselves; they are linked from the start. A
//!    region that is *dropped* with a cancelled region around it keeps that region's reason when it leaves,
//!    for later questions.
//! 6. Numbers grow: of two regions that are entered in one task, the later one has the larger number.
//!    Sorting by it is last in, first out, whatever the order of drops (R7).
//!
//! # Lock order
//!
//! A thread holds one node's lock at a time, and never a group's ledger together with it. No user code
//! runs under either: wakers are cloned before and woken and dropped after, exits are moved out before
//! they are polled or dropped (R18).
//!
//! # Floor plan
//!
//! | file | content |
//! |---|---|
//! | `flags` | the bits of a region's state |
//! | `kind` | the kinds of regions |
//! | `node` | the node: state, lock, flags |
//! | `stamp` | the owner and the place of a region that has no node, in one word |
//! | `body` | a body of any type |
//! | `exit` | an exit, and its run |
//! | `tally` | failures and the panic of one region |
//! | `crowd` | futures that are polled side by side |
//! | `adoption` | abandoned exits: batches, waves, the lane |
//! | `ambient` | the region that is polled on this thread |
//! | `draft` | a region before it has a node |
//! | `newborn` | a child before it has a node |
//! | `observe`, `register`, `census` | events, snapshots and counts, each behind its feature |
//! | `owner` | the owner, and texts about a region |
//! | `walk` | the regions around a region |
//! | `links` | the way of a request to the regions inside |
//! | `quiet` | the word that answers most questions |
//! | `look` | whether a region is cancelled or stopped |
//! | `request` | a cancellation and a stop, and their signal |
//! | `shields` | shields, as the regions around see them |
//! | `wait` | waits for a cancellation or a stop |
//! | `time` | deadlines, graces, clocks |
//! | `enter`, `stay` | entering a region; the runs inside an entered scope |
//! | `inbox`, `record` | the exits and the failures that other regions send |
//! | `leave` | closing a region |
//! | `ticket` | exits that stay on their thread |
//! | `voyage` | abandoned exits that run on an executor |
//! | `frame`, `timers` | the frame that polls a region |
//! | `run`, `lone` | the future that enters a region, polls it and leaves |

mod adoption;
pub(crate) mod ambient;
mod body;
#[cfg(feature = "testing")]
mod census;
mod crowd;
mod draft;
mod enter;
mod exit;
mod flags;
mod frame;
mod inbox;
mod kind;
mod leave;
mod links;
mod lone;
mod look;
mod newborn;
mod node;
mod observe;
mod owner;
mod quiet;
mod record;
#[cfg(feature = "inspect")]
pub(crate) mod register;
mod request;
mod run;
mod shields;
mod stamp;
mod stay;
mod tally;
mod ticket;
mod time;
mod timers;
mod voyage;
mod wait;
mod walk;

#[cfg(feature = "testing")]
pub use census::live_regions;

pub(crate) use body::InPlace;
pub(crate) use draft::Draft;
pub(crate) use exit::{Exit, ExitError, ExitWork};
pub(crate) use frame::{Ended, Frame};
pub(crate) use kind::Kind;
pub(crate) use lone::Lone;
pub(crate) use newborn::Newborn;
pub(crate) use node::Node;
pub(crate) use observe::Phase;
pub(crate) use owner::current_task;
pub(crate) use run::Run;
pub(crate) use tally::Caught;
pub(crate) use ticket::Ticket;
pub(crate) use wait::Wait;
