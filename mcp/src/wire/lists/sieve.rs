//! A page of a list without the items that cannot be read.
//!
//! rmcp reads a page as a whole, so one tool without an `inputSchema` makes the whole page unreadable. Our transports
//! see the page first: they pass on the readable items, typed as rmcp expects them. The same items as they came and the
//! problems are kept here until [`read`](super::read) takes them, because rmcp's types keep no field that they do not
//! know. A number in the page's `_meta` tells which findings belong to it.
//!
//! The answer to a call and to similar requests is not typed at all: it is passed on as it is (see
//! [`answers`]).

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use rmcp::model::{
    ClientJsonRpcMessage, JsonRpcMessage, MetaObject, RequestId, ServerJsonRpcMessage, ServerResult,
};
use serde::Deserialize;
use serde_json::Value;

use super::super::{answers, raw};
use super::kind::List;
use super::page::{Findings, meta_of, page};

/// The key of a page's number in its `_meta`. A server's own entry of that name is replaced.
const PAGE: &str = "moored/page";
/// The number of pages whose findings are kept. No more than one page of each list is read at a time; findings that are not
/// taken, because the reader is gone, make room for newer ones.
const PAGES: usize = 8;

/// The form in which the answer of a request is passed on.
#[derive(Debug, Clone, Copy)]
enum Mesh {
    /// A page of a list, sifted.
    Page(List),
    /// A page of a list, of which the findings are all.
    Direct(List),
    /// Unchanged.
    Whole,
}

/// The requests under way with answers that rmcp must not read itself, and the findings on the newest pages.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    watched: Mutex<HashMap<RequestId, Mesh>>,
    found: Mutex<Found>,
}

/// The findings on the newest pages, each with a number. A page for rmcp is counted here; any other page has the id of its
/// request, and such ids are higher.
#[derive(Debug, Default)]
struct Found {
    pages: VecDeque<(u64, Findings)>,
    next: u64,
}

impl Found {
    fn put(&mut self, number: u64, findings: Findings) {
        if self.pages.len() == PAGES {
            self.pages.pop_front();
        }
        self.pages.push_back((number, findings));
    }

    fn take(&mut self, number: u64) -> Option<Findings> {
        let at = self.pages.iter().position(|(page, _)| *page == number)?;
        self.pages.remove(at).map(|(_, findings)| findings)
    }
}

impl Sieve {
    /// Remembers a request with an answer that rmcp must not read.
    pub(crate) fn watch(&self, message: &ClientJsonRpcMessage) {
        let watched = match List::asked_by(message) {
            Some((id, list)) => Some((id, Mesh::Page(list))),
            None => answers::asked_by(message).map(|id| (id, Mesh::Whole)),
        };
        if let Some((id, mesh)) = watched {
            self.watched.lock().insert(id, mesh);
        }
    }

    /// Remembers a request for a page that rmcp does not know of.
    pub(crate) fn watch_direct(&self, id: RequestId, list: List) {
        self.watched.lock().insert(id, Mesh::Direct(list));
    }

    /// Takes the findings on the page that answers the request `id`, which rmcp does not know of.
    pub(crate) fn take_direct(&self, id: i64) -> Option<Findings> {
        self.found.lock().take(id.cast_unsigned())
    }

    /// Reads a message of the server; the answer to a watched request is sifted.
    pub(crate) fn read(&self, text: &[u8]) -> serde_json::Result<ServerJsonRpcMessage> {
        if self.watched.lock().is_empty() {
            return serde_json::from_slice(text);
        }
        self.sift(serde_json::from_slice(text)?).or_else(serde_json::from_value)
    }

    /// A request has its answer, or no longer waits for it.
    pub(crate) fn forget(&self, id: &RequestId) {
        self.watched.lock().remove(id);
    }

    /// `message` as an answer; the message itself if it is something else.
    fn sift(&self, mut message: Value) -> Result<ServerJsonRpcMessage, Value> {
        let is_result = message["jsonrpc"] == "2.0"
            && message.get("result").is_some()
            && message.get("error").is_none();
        let id = message.get("id").and_then(|id| RequestId::deserialize(id).ok());
        let Some(id) = id.filter(|_| is_result) else { return Err(message) };
        let Some((id, mesh)) = self.watched(&id) else { return Err(message) };
        let result = message["result"].take();
        let result = match mesh {
            Mesh::Page(list) => self.keep(page(list, result)),
            Mesh::Direct(list) => {
                let (_typed, findings) = page(list, result);
                if let RequestId::Number(id) = id {
                    self.found.lock().put(id.cast_unsigned(), findings);
                }
                ServerResult::empty(())
            }
            Mesh::Whole => raw::result(result),
        };
        Ok(JsonRpcMessage::response(result, id))
    }

    /// Keeps the findings on a page, and writes their number into it.
    fn keep(&self, (mut page, findings): (ServerResult, Findings)) -> ServerResult {
        if let Some(meta) = meta_of(&mut page) {
            let mut found = self.found.lock();
            meta.get_or_insert_default().0.insert(PAGE.into(), found.next.into());
            let number = found.next;
            found.put(number, findings);
            found.next += 1;
        }
        page
    }

    /// Takes the findings on the page with this `_meta`.
    pub(super) fn take(&self, meta: Option<&MetaObject>) -> Option<Findings> {
        let number = meta?.0.get(PAGE)?.as_u64()?;
        self.found.lock().take(number)
    }

    /// The request for which an answer with this id is; it is watched no more. `"7"` is taken for `7`, as rmcp does.
    fn watched(&self, id: &RequestId) -> Option<(RequestId, Mesh)> {
        let mut watched = self.watched.lock();
        watched.remove_entry(id).or_else(|| match id {
            RequestId::String(text) => watched.remove_entry(&RequestId::Number(text.parse().ok()?)),
            RequestId::Number(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{ClientRequest, ListToolsRequest};

    use super::*;

    /// The sieve, and the `_meta` of the page that it makes of each text.
    fn pages(texts: &[&str]) -> (Sieve, Vec<Option<MetaObject>>) {
        let sieve = Sieve::default();
        let pages = texts.iter().map(|text| {
            let request = ClientRequest::ListToolsRequest(ListToolsRequest::default());
            sieve.watch(&ClientJsonRpcMessage::request(request, RequestId::Number(1)));
            let read = sieve.read(text.as_bytes()).expect("a message");
            let ServerJsonRpcMessage::Response(answer) = read else { panic!("{read:?}") };
            let ServerResult::ListToolsResult(page) = answer.result else { panic!("a page") };
            page.meta
        });
        let pages = pages.collect();
        (sieve, pages)
    }

    #[test]
    fn a_page_has_its_own_findings_whatever_number_its_server_has_written() {
        let bare = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"bare"}],"_meta":{"moored/page":1}}}"#;
        let good =
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"g","inputSchema":{},"x":1}]}}"#;
        let (sieve, metas) = pages(&[bare, good]);
        let second = sieve.take(metas[1].as_ref()).expect("findings");
        assert_eq!((second.items[0]["x"].clone(), second.warnings.len()), (1.into(), 0));
        let first = sieve.take(metas[0].as_ref()).expect("findings");
        assert_eq!((first.items.len(), first.warnings.len()), (0, 1));
        assert!(sieve.take(metas[0].as_ref()).is_none() && sieve.take(None).is_none());
    }

    #[test]
    fn findings_that_are_not_taken_make_room_for_newer_ones() {
        let page = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
        let (sieve, metas) = pages(&[page; PAGES + 1]);
        let taken = metas.iter().map(|meta| sieve.take(meta.as_ref()).is_some());
        assert_eq!(taken.filter(|it| *it).count(), PAGES);
        assert!(sieve.take(metas[0].as_ref()).is_none());
    }
}
