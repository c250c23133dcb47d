//! An attempt to connect, from the first resource acquired to the last page of the server's lists, within its time.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moored::CancelScope;
use tokio::time::Instant;

use super::attempt::{self, Context, Held};
use super::start::{Life, interrupted};
use crate::component::ComponentKind;
use crate::duration::show_duration;
use crate::fault::Fault;
use crate::report::{ConnectPhase, Outcome};
use crate::wire::handshake::Terms;
use crate::wire::{Gone, Link, Offers};

/// Connects in a scope of its own, which its deadline cancels. An order to leave drops it.
pub(super) fn in_time<'a>(
    context: Context<'a>,
    life: &'a mut Life,
) -> BoxFuture<'a, Result<(Held, Link, Offers), Fault>> {
    attempt_in_time(context, life).boxed()
}

async fn attempt_in_time(
    context: Context<'_>,
    life: &mut Life,
) -> Result<(Held, Link, Offers), Fault> {
    let options = &context.shared.options;
    let deadline = life.deadline.unwrap_or_else(Instant::now);
    let time_left = deadline.saturating_duration_since(Instant::now());
    let scope = CancelScope::new().named("connect").timeout(time_left);
    let _attempt = context.session.attempts.begin();
    let Life { held, again, failed_on_probe, .. } = &mut *life;
    let terms = Terms {
        era: context.session.params.era,
        probe: failed_on_probe.is_none(),
        discover_timeout: options.discover_timeout,
        deadline,
    };
    let attempt = scope.run(async {
        let (acquired, ready) = context.acquire()?;
        *held = Some(acquired.clone());
        // A part of a result may be in the reason why the result is refused, such as the version that it names.
        let shown = |text: &str| context.session.secrets.hide(text).into_owned();
        let link = attempt::handshake(&acquired, ready, terms).await.map_err(|fault| {
            let fault = fault.reworded(shown);
            *again = acquired.failed_on_probe().then(|| fault.line());
            of_both(failed_on_probe.as_deref(), fault)
        })?;
        if let Some(how) = failed_on_probe {
            acquired.recorder.warn(format!("{how}: it was started again"));
        }
        acquired.recorder.step(ConnectPhase::List, "reading what the server offers");
        let kinds = BTreeSet::from(ComponentKind::ALL);
        let offers = tokio::select! {
            // `biased`: the lists of a server count if they are complete, even if the server is gone by now.
            biased;
            offers = link.offers(&kinds, options.page_cap, &acquired.recorder) => offers,
            fault = acquired.lost() => return Err(fault),
        };
        match offers {
            Ok(offers) => Ok((acquired, link, offers)),
            Err(Gone) => Err(acquired.lost().await),
        }
    });
    let attempted = tokio::select! {
        biased;
        attempted = attempt => attempted,
        () = context.orders.asked_to_leave() => return Err(interrupted()),
    };
    // Nothing but its deadline cancels the scope.
    attempted.unwrap_or_else(|_| Err(timed_out(life, options.connect_timeout)))
}

/// The failure of a process that was not probed, after `first`, that of a process that was. If it is the same one, only
/// the first process has a remark on the probe.
fn of_both(first: Option<&str>, fault: Fault) -> Fault {
    match first {
        Some(first)
            if first.strip_prefix(&fault.line()).is_some_and(|more| more.starts_with(" (")) =>
        {
            fault.headed(first)
        }
        _ => fault,
    }
}

fn timed_out(life: &Life, limit: std::time::Duration) -> Fault {
    let phase = life.held.as_ref().and_then(Held::phase);
    let phase = phase.unwrap_or_else(|| "connecting".into());
    let limit = show_duration(limit);
    let mut text = format!("not connected within {limit}: still {phase}");
    if let Some(how) = &life.failed_on_probe {
        text.push_str(&format!(" in its second process, because of the first: {how}"));
    }
    Fault::new(Outcome::TimedOut, text)
}
