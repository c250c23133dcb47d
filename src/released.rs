//! Handing a region over to another task (R4).

use std::fmt;

/// The types that can be handed over: [`ExitStack`](crate::ExitStack) and
/// [`EnteredScope`](crate::EnteredScope).
///
/// Sealed: there are no other such types.
pub trait Handover: sealed::TakeOver {}

pub(crate) mod sealed {
    pub trait TakeOver {
        /// Makes the current task the owner, and the region current here the parent. If the region is `dropped`, only
        /// where a region is current.
        #[doc(hidden)]
        fn take_over(&self, dropped: bool);
    }
}

/// A region that its owner has released, until a task [adopts](Released::adopt) it.
///
/// # On drop
///
/// The region is dropped by the current task, as if that task had adopted it: its exits go to the region that is
/// current there. Outside every task the exits go where they would have gone without the release: to the nearest
/// live region around it, or on along R8's chain.
///
/// # Examples
///
/// ```
/// use moored::{ExitStack, task};
///
/// # futures::executor::block_on(async {
/// let released = task(async {
///     let stack = ExitStack::new();
///     stack.defer(async { println!("left by the second task") });
///     stack.release().unwrap()
/// })
/// .await;
/// task(async move { released.adopt().close().await }).await.unwrap();
/// # });
/// ```
#[must_use = "dropping it drops the region, whose exits go to the region current there"]
pub struct Released<R: Handover> {
    // `None` once it is adopted or dropped.
    region: Option<R>,
}

impl<R: Handover> Released<R> {
    pub(crate) fn new(region: R) -> Self {
        Released { region: Some(region) }
    }

    /// Makes the current task the owner, and the region current here the parent.
    pub fn adopt(mut self) -> R {
        let region = self.region.take().expect("the region is here until it is adopted");
        region.take_over(false);
        region
    }
}

impl<R: Handover> Drop for Released<R> {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            region.take_over(true);
        }
    }
}

impl<R: Handover + fmt::Debug> fmt::Debug for Released<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Released").field(&self.region).finish()
    }
}
