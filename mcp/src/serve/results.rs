//! The differences between the results of the two eras.

use serde_json::{Value, json};

/// Whether a client may cache a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Lists and resources: the newer era requires the time and the scope of caching.
    Cacheable,
    /// All other results.
    Once,
}

/// Gives a result the fields that its era requires. Values that the server itself has set are kept.
pub(super) fn fit(mut result: Value, modern: bool, kept: Kept) -> Value {
    let Some(fields) = result.as_object_mut() else { return result };
    if !modern {
        // Strict clients of the older era refuse a field that has no meaning for them.
        if fields.get("resultType").is_some_and(|kind| kind == "complete") {
            fields.remove("resultType");
        }
        return result;
    }
    let kind = fields.entry("resultType").or_insert_with(|| json!("complete"));
    if *kind == "complete" && kept == Kept::Cacheable {
        fields.entry("ttlMs").or_insert_with(|| json!(0));
        fields.entry("cacheScope").or_insert_with(|| json!("private"));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_era_gets_its_fields() {
        let result = || json!({"tools": [], "x": 1});
        assert_eq!(fit(result(), false, Kept::Cacheable), result());
        assert_eq!(
            fit(result(), true, Kept::Cacheable),
            json!({"tools": [], "x": 1, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"})
        );
        assert_eq!(
            fit(json!({"ttlMs": 7, "resultType": "complete"}), true, Kept::Cacheable)["ttlMs"],
            7
        );
        assert_eq!(fit(json!({}), true, Kept::Once), json!({"resultType": "complete"}));
        assert_eq!(fit(json!({"resultType": "complete"}), false, Kept::Once), json!({}));
        let more = json!({"resultType": "input_required", "requestState": "s"});
        assert_eq!(fit(more.clone(), true, Kept::Cacheable), more);
    }
}
