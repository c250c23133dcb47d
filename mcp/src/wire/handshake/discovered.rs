//! The answer to `server/discover`, read leniently, because a field that nothing depends on is no reason to take a server
//! for one of the older era.

use rmcp::model::DiscoverResult;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::wire::lists::fault;

/// The meaning of a result of the probe.
#[derive(Debug)]
pub(crate) enum Discovered {
    /// The description of a server of the newer era, and a remark on the fields that cannot be read and are ignored.
    Modern(Box<DiscoverResult>, Option<String>),
    /// It is meant as such a description, and lacks a part without which it is none: the reason, which names that part.
    Broken(String),
    /// Another result. Some servers of the older era answer every request.
    Other,
}

/// The test for a value that can be read.
type Test = fn(&Value) -> bool;
/// A field that may be missing: its name, its value then if it must not be, and its test.
type Optional = (&'static str, Option<fn() -> Value>, Test);

const REQUIRED: [(&str, Test); 2] =
    [("supportedVersions", Value::is_array), ("capabilities", Value::is_object)];
const OPTIONAL: [Optional; 5] = [
    ("resultType", Some(|| json!("complete")), Value::is_string),
    ("ttlMs", Some(|| json!(0)), Value::is_u64),
    ("cacheScope", Some(|| json!("private")), |it| *it == "public" || *it == "private"),
    ("instructions", None, Value::is_string),
    ("_meta", None, Value::is_object),
];

/// Reads a result of the probe.
pub(crate) fn discovered(came: &Value) -> Discovered {
    let Value::Object(fields) = came else { return Discovered::Other };
    if !REQUIRED.iter().any(|(field, _)| fields.contains_key(*field)) {
        return Discovered::Other;
    }
    // Most answers can be read as they are.
    let is_sound = OPTIONAL
        .iter()
        .all(|(field, default, is_right)| fields.get(*field).map_or(default.is_none(), is_right));
    if is_sound && let Ok(result) = DiscoverResult::deserialize(came) {
        return Discovered::Modern(Box::new(result), None);
    }
    let mut result = fields.clone();
    if let Some(Value::Array(offered)) = result.get_mut("supportedVersions") {
        offered.retain(Value::is_string);
    }
    for (field, is_right) in REQUIRED {
        match result.get(field) {
            None | Some(Value::Null) => return Discovered::Broken(format!("it has no {field:?}")),
            Some(value) if is_right(value) => {}
            Some(_) => return Discovered::Broken(format!("its {field:?} has the wrong shape")),
        }
    }
    let mut ignored = Vec::new();
    for (field, default, is_right) in OPTIONAL {
        match result.remove(field) {
            Some(value) if is_right(&value) => {
                result.insert(field.to_owned(), value);
                continue;
            }
            Some(Value::Null) | None => {}
            Some(_) => ignored.push(format!("{field:?}")),
        }
        result.extend(default.map(|value| (field.to_owned(), value())));
    }
    let remark = (!ignored.is_empty()).then(|| {
        let ignored = ignored.join(", ");
        format!("the answer to server/discover: {ignored} cannot be read and is ignored")
    });
    let result = Value::Object(result);
    match DiscoverResult::deserialize(&result) {
        Ok(result) => Discovered::Modern(Box::new(result), remark),
        // It is read once more for the reason, with the path to the field.
        Err(_) => fault::<DiscoverResult>(&result).map_or(Discovered::Other, Discovered::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: &str, value: Value) -> Value {
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            "ttlMs": 0,
            "cacheScope": "private",
        });
        result[field] = value;
        result
    }

    #[test]
    fn a_field_that_nothing_depends_on_is_ignored_and_named() {
        for (field, value) in [
            ("resultType", json!(7)),
            ("ttlMs", json!("soon")),
            ("ttlMs", json!(-1)),
            ("cacheScope", json!("galaxy")),
            ("instructions", json!(["a"])),
            ("_meta", json!("x")),
        ] {
            let Discovered::Modern(result, remark) = discovered(&with(field, value)) else {
                panic!("{field}")
            };
            assert!(result.capabilities.tools.is_some());
            let expected =
                format!("the answer to server/discover: {field:?} cannot be read and is ignored");
            assert_eq!(remark, Some(expected));
        }
        for missing in ["resultType", "ttlMs", "cacheScope", "instructions", "_meta"] {
            let read = discovered(&with(missing, Value::Null));
            assert!(matches!(read, Discovered::Modern(_, None)), "{missing}: {read:?}");
        }
    }

    #[test]
    fn a_description_without_a_part_that_matters_names_that_part() {
        for (field, value, why) in [
            ("capabilities", Value::Null, r#"it has no "capabilities""#),
            ("capabilities", json!([]), r#"its "capabilities" has the wrong shape"#),
            ("capabilities", json!({"tools": 5}), "`capabilities.tools`: invalid type"),
            ("supportedVersions", Value::Null, r#"it has no "supportedVersions""#),
            ("supportedVersions", json!("2026-07-28"), r#"its "supportedVersions" has"#),
        ] {
            let read = discovered(&with(field, value));
            let Discovered::Broken(told) = read else { panic!("{field}: {read:?}") };
            assert!(told.starts_with(why), "{told}");
        }
    }

    #[test]
    fn another_result_is_no_description() {
        for other in [json!({}), json!(null), json!([1]), json!({"tools": []})] {
            assert!(matches!(discovered(&other), Discovered::Other), "{other}");
        }
    }
}
