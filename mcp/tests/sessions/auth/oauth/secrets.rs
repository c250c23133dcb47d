//! No secret of a login is in a log, a report or an error.

use std::sync::Arc;

use moored_mcp::{Outcome, SessionGroup};
use parking_lot::Mutex;
use tracing::instrument::WithSubscriber;

use super::super::{SECRET, server};
use super::authority::{Authority, CODE, State};
use crate::support::{brisk, echo, within_limit};

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::field::Visit for Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_secret_is_in_no_log_and_in_no_report() {
    let log = Log::default();
    // For the whole thread, because rmcp has tasks of its own.
    let _everything = tracing::subscriber::set_default(log.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(
        within_limit(async {
            let authority = Authority::start().await;
            let group = SessionGroup::start(brisk());
            let mut events = group.events();
            let mut params = authority.params(authority.user());
            params.headers.insert("X-Key".into(), format!("static-{SECRET}"));
            group.connect(server(params)).await.expect("logged in");
            let mut seen = String::new();
            authority.revoke();
            echo(&group, "s").await.expect("refreshed");
            authority.forget();
            let refused = echo(&group, "s").await.expect_err("refused");
            seen.push_str(&format!(
                "{refused} {refused:?} {:?}",
                std::error::Error::source(&refused)
            ));
            seen.push_str(&format!("{group:?}"));
            let report = group.close().await;
            seen.push_str(&format!("{report:?} {}", serde_json::to_string(&report).expect("JSON")));
            while let Ok(event) = events.try_recv() {
                seen.push_str(&format!("{event:?}"));
            }
            for secret in [SECRET, CODE] {
                assert!(!seen.contains(secret), "{seen}");
            }
        })
        .with_current_subscriber(),
    );
    let log = log.0.lock();
    assert!(!log.is_empty(), "something is logged");
    for secret in [SECRET, CODE] {
        let at = log
            .find(secret)
            .map(|at| log[at.saturating_sub(300)..(at + 40).min(log.len())].to_owned());
        assert_eq!(at, None, "{secret} in the log");
    }
}

#[tokio::test]
async fn a_code_that_the_authority_repeats_in_its_refusal_is_hidden() {
    within_limit(async {
        let refusal = r#"{"error": "invalid_request", "error_description": "BODY"}"#;
        let authority =
            Authority::start_as(State { login: Some((400, refusal)), ..State::default() }).await;
        let (group, connected) = authority.connect(authority.user()).await;
        let error = connected.expect_err("refused");
        assert_eq!(error.outcome(), Outcome::AuthRequired);
        let shown = format!("{error:?} {:?}", group.close().await);
        assert!(shown.contains("invalid_request") && shown.contains("code=(hidden)"), "{shown}");
        assert!(!shown.contains(CODE), "{shown}");
    })
    .await;
}
