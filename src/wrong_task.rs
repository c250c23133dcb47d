//! Misuse: the operation that was refused, the tasks and places, and the way out (R2).

use crate::identity::TaskId;
use std::error::Error;
use std::fmt;
use std::panic::Location;

/// An operation that only the owner of a region may do was attempted by another task (R2).
///
/// Nothing was changed by the attempt: the owner can still do it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongTask {
    /// The operation: `defer`, `run`, `close`, …
    pub operation: &'static str,
    /// The region, as texts show it: ``exit stack `session` ``.
    pub region: String,
    /// The task that entered the region.
    pub owner: TaskId,
    /// Where the region was entered.
    pub entered_at: &'static Location<'static>,
    /// The task that made the attempt.
    pub current: TaskId,
    /// The place of the attempt. A poll has no place, so for a poll it is the place where the future was made. For a
    /// drop, which has no place either, it is the place where the region was entered.
    pub attempted_at: &'static Location<'static>,
}

impl fmt::Display for WrongTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrongTask { operation, region, owner, entered_at, current, attempted_at } = self;
        if *operation == "drop" {
            // A drop has no place in the source.
            return write!(
                f,
                "{current} dropped {region}, which was entered by {owner} at {entered_at}: only that task \
                 leaves it; its exits went home"
            );
        }
        write!(
            f,
            "{current} may not {operation} {region} at {attempted_at}: it was entered by {owner} at \
             {entered_at}, and only that task "
        )?;
        f.write_str(match *operation {
            "spawn" => "spawns into it; spawn through a `GroupSpawner`, which that task makes with `spawner()`",
            "poll" => {
                "polls it; give a future to its task before the first poll, or hand an entered scope over with \
                 `release` and `adopt`"
            }
            _ => "leaves it; ask through a `CancelHandle`, or hand it over with `release` and `adopt`",
        })
    }
}

impl Error for WrongTask {}

/// The reason why an operation on a region was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// Another task owns the region.
    WrongTask(Box<WrongTask>),
    /// The region was left before.
    #[non_exhaustive]
    Left {
        /// The operation.
        operation: &'static str,
        /// The region, as texts show it.
        region: String,
        /// Where the region was entered.
        entered_at: &'static Location<'static>,
        /// Where the attempt was made.
        attempted_at: &'static Location<'static>,
    },
    /// A spawn into a group that has closed, because its last child has left or its `run` is no longer
    /// polled (R16).
    #[non_exhaustive]
    Closed {
        /// The group, as texts show it.
        region: String,
        /// Where the group was run; where its spawner was made, if the group is gone.
        entered_at: &'static Location<'static>,
        /// Where the attempt was made.
        attempted_at: &'static Location<'static>,
    },
    /// A second `run` of a region that is entered once.
    #[non_exhaustive]
    EnteredTwice {
        /// The region, as texts show it.
        region: String,
        /// Where the region was entered.
        entered_at: &'static Location<'static>,
        /// Where the attempt was made.
        attempted_at: &'static Location<'static>,
    },
}

impl Misuse {
    /// Panics in the caller.
    #[track_caller]
    pub(crate) fn panic(&self) -> ! {
        panic!("{self}")
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::WrongTask(wrong) => fmt::Display::fmt(wrong, f),
            Misuse::Left { operation, region, entered_at, attempted_at } => write!(
                f,
                "cannot {operation} {region} at {attempted_at}: it was entered at {entered_at} and has \
                 been left; enter a new one"
            ),
            Misuse::Closed { region, entered_at, attempted_at } => write!(
                f,
                "cannot spawn into {region} at {attempted_at}: it was entered at {entered_at} and has \
                 closed; spawn while its body or a child is inside"
            ),
            Misuse::EnteredTwice { region, entered_at, attempted_at } => write!(
                f,
                "cannot run {region} at {attempted_at}: it was entered at {entered_at}, and a region is \
                 entered once; make a new one for each run"
            ),
        }
    }
}

impl Error for Misuse {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The content of the box, so that it can be downcast.
            Misuse::WrongTask(wrong) => Some(&**wrong),
            _ => None,
        }
    }
}

/// A refusal that hands back the argument, so that nothing is lost (R2).
pub struct Rejected<T> {
    // In a box, so that a result of a call that is rarely refused is not much larger than the argument.
    misuse: Box<Misuse>,
    value: T,
}

impl<T> Rejected<T> {
    pub(crate) fn new(misuse: Misuse, value: T) -> Self {
        Rejected { misuse: Box::new(misuse), value }
    }

    pub(crate) fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Rejected<U> {
        Rejected { misuse: self.misuse, value: wrap(self.value) }
    }

    /// The reason of the refusal.
    pub fn error(&self) -> &Misuse {
        &self.misuse
    }

    /// The argument of the refused call.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The reason of the refusal, by value: an error that any signature takes, because the argument is dropped. With
    /// it, `?` works with a future that is not `Sync`: `spawner.spawn(child).map_err(Rejected::into_error)?`.
    pub fn into_error(self) -> Misuse {
        *self.misuse
    }

    /// The reason of the refusal, and the argument.
    pub fn into_parts(self) -> (Misuse, T) {
        (*self.misuse, self.value)
    }
}

/// `value`, if its call was admitted.
pub(crate) fn admitted<T>(checked: Result<(), Misuse>, value: T) -> Result<T, Rejected<T>> {
    match checked {
        Ok(()) => Ok(value),
        Err(misuse) => Err(Rejected::new(misuse, value)),
    }
}

/// The result of a plain `defer`, `hold` or `spawn`; panics in the caller if it was refused.
#[track_caller]
pub(crate) fn accepted<R, T>(result: Result<R, Rejected<T>>) -> R {
    match result {
        Ok(accepted) => accepted,
        Err(rejected) => panic!("{rejected}"),
    }
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("error", &self.misuse).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.misuse, f)
    }
}

impl<T> Error for Rejected<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.misuse.source()
    }
}
