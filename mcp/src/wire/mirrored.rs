//! Arguments of tools that are also sent as headers, in the newer era over HTTP (SEP-2243).

use serde_json::{Map, Value};

/// The properties of a schema that are also sent as headers: the path to each, the end of its header's name, and its schema.
pub(crate) fn annotated(schema: &Map<String, Value>) -> Vec<(Vec<&str>, &str, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), schema.get("properties"))];
    while let Some((path, properties)) = open.pop() {
        for (name, schema) in properties.and_then(Value::as_object).into_iter().flatten() {
            let mut path: Vec<&str> = path.clone();
            path.push(name);
            if let Some(header) = schema["x-mcp-header"].as_str().filter(|it| !it.is_empty()) {
                found.push((path.clone(), header, schema));
            }
            open.push((path, schema.get("properties")));
        }
    }
    found
}

/// Writes an integer of a mirrored argument as one: JSON has `7.0` for it as well, and its header has to be `7`. The header is
/// written from the message, so both are.
pub(crate) fn write_integers(args: &mut Map<String, Value>, schema: &Map<String, Value>) {
    /// The integers that a double tells apart.
    const EXACT: f64 = 9_007_199_254_740_991.0;
    for (path, _, schema) in annotated(schema) {
        if schema["type"] != "integer" {
            continue;
        }
        let Some((first, rest)) = path.split_first() else { continue };
        let found = rest
            .iter()
            .try_fold(args.get_mut(*first), |value, key| value.map(|value| value.get_mut(*key)));
        if let Some(Some(value)) = found
            && let Some(number) = value.as_f64().filter(|_| value.is_f64())
            && number.fract() == 0.0
            && number.abs() <= EXACT
        {
            *value = Value::from(number as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_integer_of_a_mirrored_argument_is_written_as_one() {
        let schema = json!({"properties": {
            "n": {"type": "integer", "x-mcp-header": "N"},
            "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "Deep"}}},
            "free": {"type": "integer"},
            "text": {"type": "string", "x-mcp-header": "Text"},
        }});
        let schema = schema.as_object().expect("an object");
        for (came, sent) in [
            (json!({"n": 7.0, "deep": {"n": -7.0}}), json!({"n": 7, "deep": {"n": -7}})),
            (json!({"n": 1e3, "free": 7.0}), json!({"n": 1000, "free": 7.0})),
            (json!({"n": -0.0}), json!({"n": 0})),
            (json!({"n": 7, "text": "7.0"}), json!({"n": 7, "text": "7.0"})),
            (json!({"n": 7.5}), json!({"n": 7.5})),
            (json!({"n": 1e300, "deep": 7.0}), json!({"n": 1e300, "deep": 7.0})),
            (json!({"n": null}), json!({"n": null})),
            (json!({}), json!({})),
        ] {
            let mut args = came.as_object().expect("an object").clone();
            write_integers(&mut args, schema);
            assert_eq!(Value::Object(args).to_string(), sent.to_string());
        }
    }
}
