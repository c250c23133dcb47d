//! `FusedFuture` for the futures of this crate, each of which is pending once it has resolved.

/// `fused!({F: Future} Task<F>: |task| task.run.has_left())` implements `FusedFuture` for a type, with its parameters and their
/// bounds in braces, and the function that tells whether it has resolved.
macro_rules! fused {
    ($({$($generics:tt)*})? $name:ident $(<$($parameters:tt),*>)?: $has_resolved:expr) => {
        impl $(<$($generics)*>)? futures_core::FusedFuture for $name $(<$($parameters),*>)? {
            fn is_terminated(&self) -> bool {
                let has_resolved: fn(&Self) -> bool = $has_resolved;
                has_resolved(self)
            }
        }
    };
}
pub(crate) use fused;
