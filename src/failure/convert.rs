//! Conversions: into a failure with `?`, and into an error that any signature takes.

use super::{BoxError, Cause, Failure};
use std::error::Error;
use std::fmt;

/// An error of the body, so that `?` works on both in a body that returns `Result<_, Failure<E>>`.
///
/// ```
/// use moored::{ExitStack, Failure};
///
/// # futures::executor::block_on(async {
/// async fn query() -> Result<u32, std::fmt::Error> {
///     Err(std::fmt::Error)
/// }
///
/// async fn nested() -> Result<u32, Failure<std::fmt::Error>> {
///     let stack = ExitStack::new();
///     let body = async {
///         let rows = query().await?; // a plain error
///         Ok::<_, Failure<std::fmt::Error>>(rows)
///     };
///     let rows = stack.run(body).await?; // the record of a nested region, made flat
///     Ok(rows)
/// }
/// assert!(nested().await.is_err());
/// # });
/// ```
impl<E> From<E> for Failure<E> {
    fn from(error: E) -> Self {
        Failure::only(Cause::Body(error))
    }
}

/// One record of two nested ones: see [`flatten`](Failure::flatten).
///
/// # Where a call is generic in the error
///
/// `?` makes a `Failure<E>` of another `Failure<E>`, and, through this, of a `Failure<Failure<E>>`. Where the error type of
/// a call is to be inferred from its `?` alone, both would do, and the compiler asks for a type (E0283). That happens to a
/// function that returns `Failure<E>` for any `E` of its caller's choice, where nothing that it is given names the error:
///
/// ```compile_fail,E0283
/// # use moored::Failure;
/// # use std::io;
/// async fn in_transaction<E: From<io::Error>>() -> Result<u32, Failure<E>> {
///     Ok(1)
/// }
///
/// async fn story() -> Result<u32, Failure<io::Error>> {
///     Ok(in_transaction().await?) // E is io::Error, or Failure<io::Error>
/// }
/// ```
///
/// Name the error where the call is made, or where its result is kept:
///
/// ```
/// # use moored::Failure;
/// # use std::io;
/// # async fn in_transaction<E: From<io::Error>>() -> Result<u32, Failure<E>> {
/// #     Ok(1)
/// # }
/// async fn story() -> Result<u32, Failure<io::Error>> {
///     let rows = in_transaction::<io::Error>().await?;
///     let more: Result<u32, Failure<io::Error>> = in_transaction().await;
///     Ok(rows + more?)
/// }
/// # assert_eq!(futures::executor::block_on(story()).unwrap(), 2);
/// ```
///
/// A result that is returned without `?` needs neither. An `async` block whose last line is `Ok(())` names its error there,
/// as `Ok::<_, io::Error>(())`.
impl<E> From<Failure<Failure<E>>> for Failure<E> {
    fn from(nested: Failure<Failure<E>>) -> Self {
        nested.flatten()
    }
}

impl<E: Into<BoxError>> Failure<E> {
    /// The same record as a plain error: `Error + Send + Sync + 'static`, for every `E`.
    ///
    /// For signatures that take any error, such as `anyhow::Result` or `Box<dyn Error>`. Nothing of the record is
    /// lost: the result is a [`Failure`] with the same causes in the same order, and its `source` is the chain of
    /// the primary cause.
    ///
    /// ```
    /// use moored::{BoxError, ExitStack, Failure};
    ///
    /// # futures::executor::block_on(async {
    /// async fn save() -> Result<(), BoxError> {
    ///     let stack = ExitStack::new();
    ///     let saved: Result<(), Failure<BoxError>> = stack
    ///         .run(async {
    ///             stack.defer(async { Err("the lock is gone") });
    ///             Err("disk is full".into())
    ///         })
    ///         .await;
    ///     Ok(saved.map_err(Failure::into_error)?)
    /// }
    /// let error = save().await.unwrap_err();
    /// assert_eq!(error.to_string(), "disk is full (and 1 more)");
    /// # });
    /// ```
    pub fn into_error(self) -> Failure<AnyError> {
        self.map(|error| AnyError(error.into()))
    }

    /// As [`into_error`](Failure::into_error), in a box: `map_err(Failure::boxed)?` where the function returns a
    /// [`BoxError`]. `downcast` finds a `Failure<AnyError>` in it.
    pub fn boxed(self) -> BoxError {
        Box::new(self.into_error())
    }
}

/// An error of any type, as [`Failure::into_error`] keeps it: its texts and its `source` are those of the error
/// inside.
pub struct AnyError(BoxError);

impl AnyError {
    /// The error inside, to be looked at or downcast.
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }

    /// The error inside.
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Error for AnyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
