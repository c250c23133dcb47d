//! The present state of a session.

use std::time::UNIX_EPOCH;

use super::{Session, Stage};
use crate::component::ComponentKind;
use crate::duration::millis;
use crate::state::{SessionStage, SessionState};

impl Session {
    /// The state that `SessionGroup::sessions` returns.
    pub(crate) fn state(&self, is_draining: bool) -> SessionState {
        let (stage, at) = {
            let reached = self.reached.borrow();
            (reached.stage.clone(), reached.at)
        };
        let profile = self.profile.lock().clone();
        let listing = match &stage {
            Stage::Up(live) => Some(live.listing.clone()),
            _ => None,
        };
        let count = |kind| listing.as_ref().map_or(0, |listing| listing.count(kind));
        let subscribed = match stage {
            Stage::Left(_) => Vec::new(),
            _ => self.subscribed.borrow().iter().cloned().collect(),
        };
        let (stage, error) = match stage {
            Stage::Connecting => (SessionStage::Connecting, None),
            Stage::Up(live) if is_draining => {
                (SessionStage::Draining, live.info.list_error.clone())
            }
            Stage::Up(live) => (SessionStage::Up, live.info.list_error.clone()),
            Stage::Down(down) => (SessionStage::Restarting, Some(down.report.clone())),
            Stage::Leaving { fault } => {
                (SessionStage::Leaving, fault.map(|fault| fault.report(None)))
            }
            Stage::Left(finished) => (SessionStage::Left, finished.report.error.clone()),
        };
        SessionState {
            index: self.index,
            name: self.params.name.clone(),
            transport: self.kind(),
            stage,
            since_unix_ms: millis(at.duration_since(UNIX_EPOCH).unwrap_or_default()),
            era: profile.era.clone(),
            server: profile.server().cloned(),
            instructions: profile.instructions.clone(),
            capabilities: profile.capabilities().cloned().unwrap_or_default(),
            introduction: profile.introduction().cloned().unwrap_or_default(),
            tools: count(ComponentKind::Tool),
            prompts: count(ComponentKind::Prompt),
            resources: count(ComponentKind::Resource),
            templates: count(ComponentKind::ResourceTemplate),
            subscribed,
            starts: self.starts(),
            warnings: self.warnings.all(),
            error,
        }
    }
}
