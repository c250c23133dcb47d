//! `Debug` for types that show their name alone, because their content is user code, or says nothing.

/// `opaque!({F: Future} ScopeRun<'_, F>)` implements `Debug` for a type, with its parameters and their bounds in braces.
macro_rules! opaque {
    ($({$($generics:tt)*})? $name:ident $(<$($parameters:tt),*>)?) => {
        impl $(<$($generics)*>)? std::fmt::Debug for $name $(<$($parameters),*>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}
pub(crate) use opaque;
