//! The components of the fleet, as the results of list requests.

use rmcp::model::{ErrorData, PaginatedRequestParams};
use serde_json::{Map, Value};

use crate::component::{ComponentInfo, ComponentKind};

/// The field of a list's result that holds its items.
fn field(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Tool => "tools",
        ComponentKind::Prompt => "prompts",
        ComponentKind::Resource => "resources",
        ComponentKind::ResourceTemplate => "resourceTemplates",
    }
}

/// The result of a list request: each item exactly as its server sent it, under the name that the group has for it. There is
/// one page.
///
/// # Errors
///
/// If a cursor is given, because a list has one page and no cursor.
pub(super) fn list(
    kind: ComponentKind,
    offered: Vec<ComponentInfo>,
    page: Option<&PaginatedRequestParams>,
) -> Result<Value, ErrorData> {
    if let Some(cursor) = page.and_then(|page| page.cursor.as_ref()) {
        let why = format!("the cursor {cursor:?} is not from here: each list has one page");
        return Err(ErrorData::invalid_params(why, None));
    }
    let items = offered.into_iter().map(|component| {
        let mut raw = component.raw;
        raw.insert("name".into(), component.hooked.into());
        Value::Object(raw)
    });
    let items: Vec<Value> = items.collect();
    Ok(Value::Object(Map::from_iter([(field(kind).to_owned(), items.into())])))
}
