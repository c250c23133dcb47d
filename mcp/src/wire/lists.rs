//! What a server offers, read page by page, and never without end.

use std::collections::HashSet;
use std::time::Duration;

use rmcp::model::PaginatedRequestParams;
use rmcp::service::{Peer, RoleClient, ServiceError};
use rmcp::transport::common::client_side_sse::ExponentialBackoff;

use crate::report::ComponentKind;

/// One thing a server offers.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) kind: ComponentKind,
    /// The name people use.
    pub(crate) name: String,
    /// The name requests use.
    pub(crate) wire: String,
    pub(crate) description: Option<String>,
}

/// Everything it offers, and what could not be read.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    pub(crate) all: Vec<Offer>,
    pub(crate) warnings: Vec<String>,
}

/// Reads the kinds of list that the server says it has, side by side. One that fails is a warning; the rest stands.
pub(crate) async fn read(peer: &Peer<RoleClient>, page_cap: usize) -> Offers {
    let capabilities = peer.peer_info().map(|info| info.capabilities.clone()).unwrap_or_default();
    let tools = pages("tools", capabilities.tools.is_some(), page_cap, |params| async move {
        let page = peer.list_tools(params).await?;
        let offers = page.tools.into_iter().map(|tool| Offer {
            kind: ComponentKind::Tool,
            name: tool.name.to_string(),
            wire: tool.name.into_owned(),
            description: tool.description.map(|text| text.into_owned()),
        });
        Ok((offers.collect(), page.next_cursor))
    });
    let prompts = pages("prompts", capabilities.prompts.is_some(), page_cap, |params| async move {
        let page = peer.list_prompts(params).await?;
        let offers = page.prompts.into_iter().map(|prompt| Offer {
            kind: ComponentKind::Prompt,
            name: prompt.name.clone(),
            wire: prompt.name,
            description: prompt.description,
        });
        Ok((offers.collect(), page.next_cursor))
    });
    let resources =
        pages("resources", capabilities.resources.is_some(), page_cap, |params| async move {
            let page = peer.list_resources(params).await?;
            let offers = page.resources.into_iter().map(|resource| Offer {
                kind: ComponentKind::Resource,
                name: resource.name,
                wire: resource.uri,
                description: resource.description,
            });
            Ok((offers.collect(), page.next_cursor))
        });
    let mut offers = Offers::default();
    let (tools, prompts, resources) = tokio::join!(tools, prompts, resources);
    for (list, warning) in [tools, prompts, resources] {
        offers.all.extend(list);
        offers.warnings.extend(warning);
    }
    offers
}

/// One page: what it lists, and the cursor of the next one.
type Page = Result<(Vec<Offer>, Option<String>), ServiceError>;

/// All pages of one list, and why it ends early where it does.
async fn pages<F>(
    what: &str,
    offered: bool,
    cap: usize,
    page: impl Fn(Option<PaginatedRequestParams>) -> F,
) -> (Vec<Offer>, Option<String>)
where
    F: Future<Output = Page>,
{
    let mut all = Vec::new();
    if !offered {
        return (all, None);
    }
    let mut seen = HashSet::new();
    let mut cursor: Option<String> = None;
    for _ in 0..cap {
        let params = PaginatedRequestParams::default().with_cursor(cursor.take());
        match page(Some(params)).await {
            Ok((offers, next)) => {
                all.extend(offers);
                match next {
                    None => return (all, None),
                    Some(next) if !seen.insert(next.clone()) => {
                        return (
                            all,
                            Some(format!("the list of {what} repeats its cursor {next:?}")),
                        );
                    }
                    Some(next) => cursor = Some(next),
                }
            }
            Err(error) => {
                return (all, Some(format!("the list of {what} cannot be read: {error}")));
            }
        }
    }
    (all, Some(format!("the list of {what} has more than {cap} pages")))
}

/// How a lost event stream is asked for again: ever less often, and not for ever.
pub(crate) fn stream_retries() -> ExponentialBackoff {
    let mut retries = ExponentialBackoff::default();
    retries.max_times = Some(8);
    retries.max_delay = Some(Duration::from_secs(30));
    retries
}
