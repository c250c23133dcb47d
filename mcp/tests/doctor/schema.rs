//! The schema of the report: every report that a test of the doctor sees is checked against it.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::harness::Place;

const SCHEMA: &str = include_str!("../../schema/doctor.schema.json");

/// The schema as a reader of reports uses it, which passes over fields that it does not know.
static PUBLISHED: LazyLock<Validator> = LazyLock::new(|| compile(&schema()));
/// The same with no field allowed that it does not describe: a field that is added to the report is added to the schema.
static COMPLETE: LazyLock<Validator> = LazyLock::new(|| {
    let mut schema = schema();
    close(&mut schema);
    compile(&schema)
});

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

fn compile(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).expect("the schema is one")
}

/// Allows no property beside those that are named, wherever an object's properties are.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            keys.values_mut().for_each(close);
            if keys.get("type") == Some(&json!("object")) && keys.contains_key("properties") {
                keys.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Expects a report that the schema describes, whole.
pub(crate) fn check(report: &Value) {
    for validator in [&*PUBLISHED, &*COMPLETE] {
        let wrong: Vec<String> = validator
            .iter_errors(report)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "not as mcp/schema/doctor.schema.json has it: {wrong:#?}");
    }
}

#[test]
fn a_report_with_a_field_of_another_shape_is_none() {
    let run = Place::new().run(&["doctor", "--json", "--budget", "500ms"]);
    let report = run.report();
    let wrong: [(&str, Value); 8] = [
        ("/version", json!(2)),
        ("/servers/0/outcome", json!("Ok")),
        ("/servers/0/era", json!("latest")),
        ("/servers/0/era", json!(null)),
        ("/servers/2/error", json!(null)),
        ("/servers/2/error/chain", json!([])),
        ("/servers/4/leave/phases/0/phase", json!("eof")),
        ("/servers/4/leave/exit_status", json!(9)),
    ];
    for (place, value) in wrong {
        let mut report = report.clone();
        *report.pointer_mut(place).expect(place) = value;
        assert!(!PUBLISHED.is_valid(&report), "{place}");
    }
    let mut more = report.clone();
    more["servers"][0]["leave"]["added"] = json!(true);
    assert!(PUBLISHED.is_valid(&more), "a reader knows less than the report says");
    assert!(!COMPLETE.is_valid(&more), "and the schema is to say all of it");
}
