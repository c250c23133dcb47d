//! The readable part of a page, and the findings on the rest of it.

use std::collections::{BTreeMap, HashSet};

use rmcp::model::{MetaObject, ServerResult};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fault::{kind, short};
use super::kind::List;

/// Bad items of a page beyond this number are only counted.
const NAMED: usize = 256;

/// The findings on a page.
#[derive(Debug, Default)]
pub(in crate::wire) struct Findings {
    /// The reason why the page cannot be read at all.
    pub(super) fault: Option<String>,
    /// The items that cannot be read, and other oddities, a line each.
    pub(super) warnings: Vec<String>,
    /// The items that can be read, as they came.
    pub(super) items: Vec<Map<String, Value>>,
    /// The cursor of the next page.
    pub(super) next: Option<String>,
}

impl Findings {
    /// The findings on a page that our transports have not seen: its items are those of rmcp's type.
    pub(super) fn of_typed(items: &[impl Serialize]) -> Self {
        let items = match serde_json::to_value(items) {
            Ok(Value::Array(items)) => objects(items),
            _ => Vec::new(),
        };
        Self { items, ..Self::default() }
    }

    /// Drops the tools that are not in `kept`, with a warning.
    pub(super) fn drop_all_but(&mut self, kept: &HashSet<&str>) {
        let warnings = &mut self.warnings;
        self.items.retain(|item| {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
            let is_kept = kept.contains(name);
            if !is_kept {
                warnings.push(format!(
                    "the tool {name:?} is left out: an `x-mcp-header` of its inputSchema is not valid"
                ));
            }
            is_kept
        });
    }
}

/// The items of a page, which are objects.
fn objects(items: Vec<Value>) -> Vec<Map<String, Value>> {
    let object = |item| match item {
        Value::Object(object) => Some(object),
        _ => None,
    };
    items.into_iter().filter_map(object).collect()
}

/// The readable part of a page, and the findings on it.
pub(super) fn page(list: List, result: Value) -> (ServerResult, Findings) {
    let mut findings = Findings::default();
    let mut fields = match result {
        Value::Object(fields) => fields,
        other => {
            findings.fault = Some(format!("the result is {}, not an object", kind(&other)));
            Map::new()
        }
    };
    let items = match fields.remove(list.field()) {
        Some(Value::Array(items)) => items,
        Some(other) => {
            let found = kind(&other);
            findings.fault = Some(format!("`{}` is {found}, not an array", list.field()));
            Vec::new()
        }
        None => {
            findings.fault.get_or_insert_with(|| format!("`{}` is missing", list.field()));
            Vec::new()
        }
    };
    match fields.get("nextCursor") {
        None | Some(Value::String(_)) => {}
        Some(Value::Null) => drop(fields.remove("nextCursor")),
        Some(other) => {
            let text =
                format!("`nextCursor` is {}, not a string: what follows is lost", kind(other));
            findings.warnings.push(text);
            fields.remove("nextCursor");
        }
    }
    if !matches!(fields.get("_meta"), None | Some(Value::Null | Value::Object(_))) {
        findings.warnings.push("`_meta` is not an object".into());
        fields.remove("_meta");
    }
    fields.insert(list.field().into(), items.into());
    let mut page = Value::Object(fields);
    let mut places: Option<Vec<usize>> = None;
    let mut typed = list.typed(&page);
    if typed.is_err() {
        // Only now is each item looked at by itself, because most pages can be read as a whole.
        let readable = readable(list, take_items(list, &mut page), &mut findings);
        let (kept, items): (_, Vec<Value>) = readable.into_iter().unzip();
        places = Some(kept);
        page[list.field()] = items.into();
        typed = list.typed(&page);
    }
    if let (Err(fault), Value::Object(fields)) = (&typed, &mut page) {
        findings.warnings.push(format!("a field beside the items cannot be read: {fault}"));
        fields.retain(|name, _| name == list.field() || name == "nextCursor");
        typed = list.typed(&page);
    }
    // Nothing is left in it that could be wrong.
    let typed = typed.unwrap_or_else(|_| ServerResult::empty(()));
    let items = take_items(list, &mut page);
    findings.next = page["nextCursor"].as_str().map(str::to_owned);
    nulls(list, places.as_deref(), &items, &mut findings);
    findings.items = objects(items);
    (typed, findings)
}

/// Takes the items out of a page.
fn take_items(list: List, page: &mut Value) -> Vec<Value> {
    match page[list.field()].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// The `_meta` of a page.
pub(super) fn meta_of(page: &mut ServerResult) -> Option<&mut Option<MetaObject>> {
    match page {
        ServerResult::ListToolsResult(page) => Some(&mut page.meta),
        ServerResult::ListPromptsResult(page) => Some(&mut page.meta),
        ServerResult::ListResourcesResult(page) => Some(&mut page.meta),
        ServerResult::ListResourceTemplatesResult(page) => Some(&mut page.meta),
        _ => None,
    }
}

/// The items that can be read, with their places; the findings name the others.
fn readable(list: List, items: Vec<Value>, findings: &mut Findings) -> Vec<(usize, Value)> {
    let mut bad = 0_usize;
    let mut kept = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let label = || label(list, index, &item);
        if let Some(fault) = list.fault(&item) {
            bad += 1;
            if bad <= NAMED {
                let text = format!("{} cannot be read and is left out: {fault}", label());
                findings.warnings.push(text);
            }
            continue;
        }
        kept.push((index, item));
    }
    if bad > NAMED {
        findings.warnings.push(format!("{} more items cannot be read", bad - NAMED));
    }
    kept
}

/// Names the fields that are null where they may only be absent. `places` are those of the items, if some are left out.
fn nulls(list: List, places: Option<&[usize]>, items: &[Value], findings: &mut Findings) {
    let mut nulls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        for field in list.optional().iter().filter(|field| item.get(**field) == Some(&Value::Null))
        {
            let place = places.map_or(index, |places| places[index]);
            nulls.entry(field).or_default().push(label(list, place, item));
        }
    }
    for (field, labels) in nulls {
        let more = labels.len().saturating_sub(1);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        findings.warnings.push(format!(
            "`{field}` is null in {}{more}, which some clients refuse; it may only be left out",
            labels[0]
        ));
    }
}

/// The label of an item: its place, and the name it gives itself.
fn label(list: List, index: usize, item: &Value) -> String {
    let place = format!("{}[{index}]", list.field());
    let names = ["name", "uri", "uriTemplate"];
    match names.iter().find_map(|field| item.get(field)?.as_str()) {
        Some(name) => format!("{place} {:?}", short(name)),
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The names of the tools that are passed on, and the findings.
    fn tools(result: Value) -> (Vec<String>, Findings) {
        let (ServerResult::ListToolsResult(page), findings) = page(List::Tools, result) else {
            panic!("not a page of tools")
        };
        let names: Vec<_> = page.tools.iter().map(|tool| tool.name.to_string()).collect();
        assert_eq!(findings.items.iter().map(|it| it["name"].clone()).collect::<Vec<_>>(), names);
        (names, findings)
    }

    fn tool(name: &str) -> Value {
        json!({"name": name, "inputSchema": {"type": "object"}})
    }

    #[test]
    fn good_items_stand_beside_bad_ones_and_each_bad_one_is_named_with_its_field() {
        let mut icon = tool("icon");
        icon["icons"] = json!("picture.png");
        let mut nested = tool("nested");
        nested["icons"] = json!([{"src": 5}]);
        let (names, findings) = tools(json!({"tools": [
            tool("good"), {"name": "bare"}, icon, nested, null, {"inputSchema": {}}, tool("last"),
        ]}));
        assert_eq!(names, ["good", "last"]);
        assert_eq!(findings.fault, None);
        assert_eq!(
            findings.warnings,
            [
                r#"tools[1] "bare" cannot be read and is left out: missing field `inputSchema`"#,
                r#"tools[2] "icon" cannot be read and is left out: `icons`: invalid type: string "picture.png", expected an array"#,
                r#"tools[3] "nested" cannot be read and is left out: `icons[0].src`: invalid type: integer `5`, expected a string"#,
                "tools[4] cannot be read and is left out: it is null, not an object",
                "tools[5] cannot be read and is left out: missing field `name`",
            ]
        );
    }

    #[test]
    fn a_null_where_only_absence_is_allowed_is_told_and_costs_nothing() {
        let mut odd = tool("odd");
        odd["description"] = Value::Null;
        let (names, findings) = tools(json!({"tools": [tool("good"), odd, odd]}));
        assert_eq!(names, ["good", "odd", "odd"]);
        let [warning] = &findings.warnings[..] else { panic!("{findings:?}") };
        let expected = r#"`description` is null in tools[1] "odd" and 1 more"#;
        assert!(warning.starts_with(expected), "{warning}");
    }

    #[test]
    fn a_page_that_is_none_says_why() {
        for (result, why) in [
            (json!({}), "`tools` is missing"),
            (json!({"tools": {"a": 1}}), "`tools` is an object, not an array"),
            (json!({"tools": null}), "`tools` is null, not an array"),
            (json!([]), "the result is an array, not an object"),
            (Value::Null, "the result is null, not an object"),
        ] {
            let (names, findings) = tools(result);
            assert!(names.is_empty());
            assert_eq!(findings.fault.as_deref(), Some(why));
        }
    }

    #[test]
    fn a_bad_field_beside_the_items_takes_no_item_with_it() {
        let fields = [json!({"nextCursor": 5}), json!({"_meta": "x"}), json!({"ttlMs": "soon"})];
        for field in fields {
            let mut result = json!({"tools": [tool("good")]});
            let extra = field.as_object().expect("an object").clone();
            result.as_object_mut().expect("an object").extend(extra);
            let (names, findings) = tools(result);
            assert_eq!((names.len(), findings.warnings.len()), (1, 1), "{field}: {findings:?}");
        }
    }

    #[test]
    fn a_cursor_that_is_null_ends_the_list_and_an_empty_one_is_kept() {
        for (cursor, kept) in [(Value::Null, None), (json!(""), Some(""))] {
            let (page, _) = page(List::Prompts, json!({"prompts": [], "nextCursor": cursor}));
            let ServerResult::ListPromptsResult(page) = page else { panic!("{page:?}") };
            assert_eq!(page.next_cursor.as_deref(), kept);
        }
    }

    #[test]
    fn a_page_of_bad_items_is_told_in_bounded_space() {
        let (_, findings) = tools(json!({"tools": vec![Value::Null; 10_000]}));
        assert_eq!(findings.warnings.len(), NAMED + 1);
        assert_eq!(findings.warnings[NAMED], "9744 more items cannot be read");
    }
}
