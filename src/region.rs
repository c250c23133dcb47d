//! The private node that all regions share: identity, parent, cancellation, exits, adoption.
//!
//! Thin public types wrap it: a scope, a stack, a group and a task are a `Node` each, and a [`Frame`] polls it.
//! A node outlives its region if a handle or a child still points at it.
//!
//! # Invariants
//!
//! 1. `ENTERED`, `LEFT`, `CANCELLED` and `STOP` are set once and never cleared. Each is stored under the
//!    node's lock, or before the node is shared, so a thread that holds the lock reads the current value.
//! 2. A node with `LEFT` has no exits, no adopted waves and no waker of a run, and gets none. Code that adds a wave
//!    reads `LEFT` first, under the same lock. Code that adds an exit to a stack reads the mark in the stack's cell
//!    first, under the lock of the cell; the mark is set together with `LEFT`. A run that has left adds no waker. So an
//!    exit that is handed over meets a region that will run it, or goes on to the next (R8).
//! 3. The parent is set when the region is entered. It changes only when the region is handed over (R4),
//!    or to skip ancestors that were left: the effective parent is the nearest live ancestor (R1).
//! 4. `inner.waker` wakes the `run` that attends the node. A thread that takes it sets `REWAKE`, and
//!    the run registers anew at its next poll.
//! 5. Every cancellation of an ancestor reaches a node that is linked. It only makes the node look: the state
//!    is never copied, because a region that was only lent survives the region it was lent to (R7). Only
//!    children of a group and stays in a scope are cancelled themselves; they are linked from the start. A
//!    region that is *dropped* with a cancelled region around it keeps that region's reason when it leaves,
//!    for later questions.
//! 6. Stacks and groups have numbers that grow: of two that are entered in one task, the later one has the larger number.
//!    Sorting their exits by it is last in, first out, in any order of drops (R7).
//!
//! # Lock order
//!
//! A thread holds one node's lock at a time, and never a group's ledger together with it. A stack
//! closes under the lock of its exits' cell and, inside it, that of its node; with `inspect`, its exits are counted so as well.
//! No user code runs under either: wakers are cloned before and woken and dropped after, exits are moved out before
//! they are polled or dropped (R18).
//! The table of all locks and atomics is in docs/design.md, section 3.
//!
//! # Floor plan
//!
//! The node has few methods of its own. An operation of a room is a function that takes the node, and is called by the name
//! of the room: `look::is_cancelled(node)`, `request::cancel(node, reason)`, `walk::live_parent(node)`.
//!
//! A file imports only from files of its own floor and of those below. `tests/layers.rs` checks it. One way leads upwards:
//! `ambient` has a draft make its node, by `Light::node` and `Light::executor_child`, when a region inside asks for it.
//!
//! | floor | file | content |
//! |--:|---|---|
//! | 0 | `flags` | the bits of a region's state: the code that sets each and that reads it, and the ordering |
//! | 0 | `kind` | the kinds of regions |
//! | 0 | `body` | a body of any type |
//! | 0 | `phase` | the state of a region, for observers |
//! | 0 | `stamp` | owner and place of a region without a node, in one word |
//! | 0 | `tally` | the failures and the panic of one region |
//! | 0 | `crowd` | work that is polled side by side: exits and waves |
//! | 0 | `keyed` | values at keys, in the order in which they came |
//! | 0 | `exits` | the exits that a region has not begun, as a list |
//! | 0 | `quiet/word` | the words in which most questions end |
//! | 0 | `time/limits` | times as they were set, and graces that have begun |
//! | 0 | `observe/begun` | an exit that has begun, for observers |
//! | 0 | `register/listed` | the entry of a region or exit in the register |
//! | 0 | `register/scans` | the scans of the register that are under way |
//! | 0 | `live` | the number of live regions, for tests |
//! | 1 | `node` | the node: its state, its lock, its flags |
//! | 1 | `wave` | abandoned exits on their way: exits that have begun, batches, waves |
//! | 2 | `walk` | the walk outwards |
//! | 2 | `shortcut` | walks past many regions, and the shortcuts that they leave |
//! | 2 | `ambient` | the region that is polled on this thread, and those around it |
//! | 2 | `owner` | the owner of a region, and its description in texts |
//! | 2 | `time/clock` | the clock of a region |
//! | 2 | `register` | the live regions, for snapshots |
//! | 2 | `observe` | events for `tracing` and `inspect` |
//! | 2 | `own_exits` | the cell in which a stack keeps its exits |
//! | 2 | `exit` | the run of an exit |
//! | 2 | `adoption` | the run of waves: the lane |
//! | 2 | `links` | the regions that a request to this one reaches |
//! | 2 | `quiet` | whether a region is known to be neither cancelled nor stopped |
//! | 2 | `look` | whether a region is cancelled or stopped |
//! | 2 | `request` | a cancellation and a stop, and the way of their signal |
//! | 2 | `shields` | shields, as the regions around them see them |
//! | 2 | `time` | deadlines and graces: set, watched, come |
//! | 2 | `wait` | waits for a cancellation or a stop |
//! | 3 | `enter` | entering a region, and handing it over |
//! | 3 | `stay` | the runs inside a scope that was entered by a call |
//! | 3 | `draft` | a scope, a task, a time limit or a stack before it has a node |
//! | 3 | `child_id` | a child before it has a node |
//! | 3 | `inbox` | the exits of a region, and those that other regions give it |
//! | 3 | `record` | the failures that other regions send |
//! | 3 | `leave` | closing a region |
//! | 3 | `local_exit` | exits that stay on their thread |
//! | 3 | `on_executor` | abandoned exits that run on an executor |
//! | 4 | `frame` | polls a region: enters it, polls its body, runs its exits, leaves |
//! | 5 | `run` | the future of a region: a body with its frame |
//! | 5 | `child` | a child's run, in one allocation with its frame and node |
//! | 5 | `lone` | a task, a time limit or a stack that only its own run has to reach |
//!
//! The types on floor 0 know no node. Files import one another in four rings, which the test names as well:
//!
//! | ring | reason |
//! |---|---|
//! | `node`, `wave` | a node holds the waves that it has to run, and an exit holds the node of its region |
//! | `request`, `shields`, `time` | a stop begins a grace, a time that has come makes a request, and a shield is woken by one |
//! | `inbox`, `on_executor` | an executor child gives its exits to its executor, and their failures go outwards |
//! | `lone`, `run` | a run begins as a lone one |

mod adoption;
pub(crate) mod ambient;
mod body;
pub(crate) mod child;
pub(crate) mod child_id;
mod crowd;
mod draft;
pub(crate) mod enter;
mod exit;
mod exits;
mod flags;
pub(crate) mod frame;
pub(crate) mod inbox;
mod keyed;
mod kind;
pub(crate) mod leave;
pub(crate) mod links;
#[cfg(feature = "testing")]
mod live;
mod local_exit;
mod lone;
pub(crate) mod look;
mod node;
pub(crate) mod observe;
mod on_executor;
mod own_exits;
pub(crate) mod owner;
mod phase;
pub(crate) mod quiet;
pub(crate) mod record;
#[cfg(feature = "inspect")]
pub(crate) mod register;
pub(crate) mod request;
mod run;
pub(crate) mod shields;
mod shortcut;
mod stamp;
pub(crate) mod stay;
mod tally;
pub(crate) mod time;
pub(crate) mod wait;
mod walk;
mod wave;

#[cfg(feature = "testing")]
pub use live::live_regions;

pub(crate) use body::InPlace;
pub(crate) use child::ChildRun;
pub(crate) use child_id::ChildId;
pub(crate) use draft::{Draft, OfStack};
pub(crate) use exits::{Exit, ExitWork};
pub(crate) use frame::{Ended, Errors, Frame};
pub(crate) use kind::Kind;
pub(crate) use local_exit::LocalExit;
pub(crate) use lone::{Deadline, Lone};
pub(crate) use node::Node;
pub(crate) use own_exits::OwnExits;
pub(crate) use owner::current_task;
pub(crate) use phase::Phase;
pub(crate) use run::Run;
pub(crate) use tally::{Caught, ExitError};
pub(crate) use wait::Waiting;
#[cfg(test)]
pub(crate) use walk::steps_of;
