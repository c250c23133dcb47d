//! The lists of a server's components, read page by page, with a bound.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use rmcp::model::{MetaObject, PaginatedRequestParams, ProtocolVersion};
use rmcp::service::{Peer, RoleClient};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

mod direct;
mod fault;
mod kind;
mod page;
mod sieve;

pub(crate) use self::direct::Direct;
pub(crate) use self::fault::fault;
pub(super) use self::kind::List;
pub(super) use self::page::Findings;
pub(crate) use self::sieve::Sieve;
use super::body::clipped;
use super::recorder::Recorder;
use super::{CallFailure, call_failure};
use crate::component::ComponentKind;
use crate::fault::Fault;
use crate::report::Outcome;

/// The time in which lists are read in turn. The lists that are left then are requested at once.
const IN_TURN: Duration = Duration::from_millis(500);
/// JSON-RPC's "method not found".
const METHOD_NOT_FOUND: i64 = -32601;
/// The other errors by which a server says that it will never answer such a request: JSON-RPC's "invalid request" and "invalid
/// params", and those of the newer era for a header, a capability and a revision. SDKs send other codes for failures of the
/// moment.
const REFUSED: [i64; 5] = [-32600, -32602, -32020, -32021, -32022];

/// One component of a server.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) kind: ComponentKind,
    /// The name for people.
    pub(crate) name: String,
    /// The name for requests.
    pub(crate) wire: String,
    pub(crate) description: Option<String>,
    /// The item of the list, as it came.
    pub(crate) raw: Map<String, Value>,
}

/// All readable components of a server.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    pub(crate) all: Vec<Offer>,
    /// The lists that could not be read, or not to their end.
    pub(crate) broken: BTreeMap<ComponentKind, Fault>,
}

/// The session ended while its lists were read; its cause is recorded elsewhere.
#[derive(Debug)]
pub(crate) struct Gone;

/// The way in which the lists of a server are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Side by side.
    Together,
    /// One after the other for [`IN_TURN`], then side by side. Over HTTP/1 each request under way needs a connection of its
    /// own, which costs both ends more than a list does, and takes as long to open.
    InTurn,
}

/// The way on which pages are requested.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// Through rmcp. With the sieve of our own transports, if the connection is ours.
    Peer(&'a Peer<RoleClient>, Option<&'a Sieve>),
    /// Over a pipe.
    Direct(&'a Direct),
}

/// Reads those of `kinds` that the server claims to have. A list that fails does not affect the others; problems of a list go to
/// the recorder as warnings.
pub(crate) async fn read(
    peer: &Peer<RoleClient>,
    way: Way<'_>,
    pace: Pace,
    kinds: &BTreeSet<ComponentKind>,
    page_cap: usize,
    recorder: &Recorder,
) -> Result<Offers, Gone> {
    let info = peer.peer_info();
    let capabilities = info.as_ref().map(|info| info.capabilities.clone()).unwrap_or_default();
    let is_modern = info.is_some_and(|it| it.protocol_version >= ProtocolVersion::V_2026_07_28);
    let empty = if is_modern { Empty::IsCursor } else { Empty::Ends };
    let lists = List::ALL.map(|list| {
        let is_wanted = kinds.contains(&list.kind()) && list.is_offered(&capabilities);
        offered(is_wanted, pages(way, list, page_cap, empty, recorder))
    });
    let lists = at_pace(pace, lists).await;
    let mut offers = Offers::default();
    for list in lists {
        let list = list?;
        offers.all.extend(list.all);
        offers.broken.extend(list.broken);
    }
    Ok(offers)
}

impl Way<'_> {
    /// Requests one page of a list.
    async fn page(self, list: List, cursor: Option<String>) -> Result<Findings, CallFailure> {
        match self {
            // Boxed, because it is large, and children need no room for it.
            Self::Peer(peer, sieve) => page_of_peer(peer, sieve, list, cursor).boxed().await,
            Self::Direct(direct) => direct.page(list, cursor).await,
        }
    }
}

async fn page_of_peer(
    peer: &Peer<RoleClient>,
    sieve: Option<&Sieve>,
    list: List,
    cursor: Option<String>,
) -> Result<Findings, CallFailure> {
    let params = Some(PaginatedRequestParams::default().with_cursor(cursor));
    Ok(match list {
        List::Tools => {
            let page = peer.list_tools(params).await.map_err(call_failure)?;
            let mut findings = found(sieve, page.meta.as_ref(), &page.tools);
            // In the newer era the protocol requires clients to drop a tool with a bad header, and rmcp
            // does.
            let kept: HashSet<&str> = page.tools.iter().map(|tool| &*tool.name).collect();
            findings.drop_all_but(&kept);
            Findings { next: page.next_cursor, ..findings }
        }
        List::Prompts => {
            let page = peer.list_prompts(params).await.map_err(call_failure)?;
            let findings = found(sieve, page.meta.as_ref(), &page.prompts);
            Findings { next: page.next_cursor, ..findings }
        }
        List::Resources => {
            let page = peer.list_resources(params).await.map_err(call_failure)?;
            let findings = found(sieve, page.meta.as_ref(), &page.resources);
            Findings { next: page.next_cursor, ..findings }
        }
        List::Templates => {
            let page = peer.list_resource_templates(params).await.map_err(call_failure)?;
            let findings = found(sieve, page.meta.as_ref(), &page.resource_templates);
            Findings { next: page.next_cursor, ..findings }
        }
    })
}

/// The findings on a page with this `_meta` and these items.
fn found(sieve: Option<&Sieve>, meta: Option<&MetaObject>, items: &[impl Serialize]) -> Findings {
    sieve.and_then(|sieve| sieve.take(meta)).unwrap_or_else(|| Findings::of_typed(items))
}

/// Reads a list if there is one.
fn offered<'a>(
    is_offered: bool,
    list: impl Future<Output = Result<Offers, Gone>> + Send + 'a,
) -> BoxFuture<'a, Result<Offers, Gone>> {
    if is_offered { list.boxed() } else { std::future::ready(Ok(Offers::default())).boxed() }
}

/// Waits for all lists. They come in the order of `lists`.
async fn at_pace<T>(pace: Pace, lists: impl IntoIterator<Item = BoxFuture<'_, T>>) -> Vec<T> {
    let mut under_way = FuturesOrdered::new();
    let mut all = Vec::new();
    let mut in_turn = (pace == Pace::InTurn).then(|| Instant::now() + IN_TURN);
    for list in lists {
        under_way.push_back(list);
        if let Some(until) = in_turn {
            let read = async {
                while let Some(list) = under_way.next().await {
                    all.push(list);
                }
            };
            if tokio::time::timeout_at(until, read).await.is_err() {
                in_turn = None;
            }
        }
    }
    while let Some(list) = under_way.next().await {
        all.push(list);
    }
    all
}

/// The meaning of an empty cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// It is one like others, as the newer era requires.
    IsCursor,
    /// There is no further page: some servers of the older era, which says nothing of it, mark the last one so.
    Ends,
}

/// Whether a page that was asked for with an empty cursor is the first one once more: its server has meant the end.
fn is_again(before: &[Offer], page: &[Offer]) -> bool {
    let known: HashSet<&str> = before.iter().map(|offer| &*offer.wire).collect();
    !page.is_empty() && page.iter().all(|offer| known.contains(&*offer.wire))
}

/// All pages of one list. It ends early, with a warning, if a page cannot be read or the pages do not end.
async fn pages(
    way: Way<'_>,
    list: List,
    cap: usize,
    empty: Empty,
    recorder: &Recorder,
) -> Result<Offers, Gone> {
    let mut read = Offers::default();
    let mut seen = HashSet::new();
    let mut cursor: Option<String> = None;
    for number in 1..=cap {
        let place = match number {
            1 => list.method().to_owned(),
            _ => format!("{}, page {number}", list.method()),
        };
        let by_empty = cursor.as_deref() == Some("");
        let failed = match way.page(list, cursor.take()).await {
            Ok(page) => {
                let before = read.all.len();
                read.all.extend(page.items.into_iter().map(|item| list.offer(item)));
                if by_empty && is_again(&read.all[..before], &read.all[before..]) {
                    read.all.truncate(before);
                    return Ok(read);
                }
                for warning in page.warnings {
                    recorder.warn(format!("{place}: {warning}"));
                }
                match (page.fault, page.next) {
                    (Some(why), _) => Fault::new(Outcome::ProtocolError, why),
                    (None, None) => return Ok(read),
                    (None, Some(next)) if next.is_empty() && empty == Empty::Ends => {
                        return Ok(read);
                    }
                    (None, Some(next)) => {
                        if !seen.insert(next.clone()) {
                            recorder.warn(format!("{place}: the list repeats its cursor {next:?}"));
                            return Ok(read);
                        }
                        cursor = Some(next);
                        continue;
                    }
                }
            }
            Err(CallFailure::Gone) => return Err(Gone),
            // Many published servers announce prompts or resources, have none, and do not know the method. A server with
            // resources need not have templates of them.
            Err(CallFailure::Rejected { code: METHOD_NOT_FOUND, message, .. })
                if list != List::Tools && number == 1 =>
            {
                if list != List::Templates {
                    let text = "it announces such a list and has none";
                    recorder.warn(format!(
                        "{place}: {text}: {} (code {METHOD_NOT_FOUND})",
                        clipped(&message)
                    ));
                }
                return Ok(read);
            }
            // So has a server that refuses it.
            Err(CallFailure::Rejected { .. }) if by_empty => return Ok(read),
            Err(CallFailure::Rejected { code, message, .. }) => rejected(number, code, &message),
            Err(CallFailure::Failed(fault)) => fault,
        };
        let fault = broken(&place, failed);
        recorder.warn(fault.line());
        read.broken.insert(list.kind(), fault);
        return Ok(read);
    }
    recorder.warn(format!("{} has more than {cap} pages", list.method()));
    Ok(read)
}

/// The server has answered the request for a page with an error.
fn rejected(number: usize, code: i64, message: &str) -> Fault {
    let text = format!("the server rejected it: {} (code {code})", clipped(message));
    // A cursor is refused if the list has changed since the page before.
    let is_refusal = number == 1 && (code == METHOD_NOT_FOUND || REFUSED.contains(&code));
    Fault::new(Outcome::ProtocolError, text).refused(is_refusal)
}

/// The failure of a list, because of that of a page.
fn broken(place: &str, failed: Fault) -> Fault {
    let (wait, is_refusal) = (failed.wait, failed.is_refusal);
    let outcome = match failed.outcome {
        Outcome::ProtocolError => Outcome::ProtocolError,
        _ => Outcome::UpstreamError,
    };
    Fault::caused(outcome, format!("{place} cannot be read"), failed)
        .asking_to_wait(wait)
        .refused(is_refusal)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::time::sleep;

    use super::*;

    /// When each of four lists was begun, if each takes as long as `takes` says, in milliseconds.
    async fn begun(pace: Pace, takes: [u64; 4]) -> Vec<u64> {
        let begun = Mutex::new(Vec::new());
        let start = Instant::now();
        let lists = takes.map(|takes| {
            let begun = &begun;
            async move {
                begun.lock().push(start.elapsed().as_millis() as u64);
                sleep(Duration::from_millis(takes)).await;
                takes
            }
            .boxed()
        });
        assert_eq!(at_pace(pace, lists).await, takes);
        begun.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_read_in_turn_until_they_are_slow_and_then_at_once() {
        assert_eq!(begun(Pace::InTurn, [10, 20, 30, 10]).await, [0, 10, 30, 60]);
        assert_eq!(begun(Pace::InTurn, [300, 900, 10, 900]).await, [0, 300, 500, 500]);
        assert_eq!(begun(Pace::Together, [10, 20, 30, 10]).await, [0, 0, 0, 0]);
    }
}
