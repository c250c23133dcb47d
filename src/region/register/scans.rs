//! The scans of the register that are under way.

use crate::sync::Global;

/// Read by each scan. While it is locked for writing, no scan is under way, so no region is held by a snapshot alone.
pub(in crate::region) static SCANS: Global<()> = Global::new(());
