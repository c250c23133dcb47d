//! The behaviour of the crate, a module per noun; every test is named after the rule that it stands for.

mod support;

mod group;
mod scope;
mod stack;
