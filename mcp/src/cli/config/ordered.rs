//! JSON that keeps what a map would lose: the order of keys, and keys that were written twice.
//!
//! The order decides the order of the report, and a server named twice must be seen twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value whose objects are lists of pairs, as they stand in the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`.
    Null,
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, in the order of the text and with its repetitions.
    Object(Vec<(String, Json)>),
    /// A number or a truth value, which nothing in a configuration may be; shown as it was read.
    Other(String),
}

impl Json {
    /// What this is, for a sentence such as "expected a string, found a list".
    pub(crate) fn kind(&self) -> String {
        match self {
            Json::Null => "null".to_owned(),
            Json::Text(_) => "a string".to_owned(),
            Json::List(_) => "a list".to_owned(),
            Json::Object(_) => "an object".to_owned(),
            Json::Other(shown) => shown.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Builds a [`Json`] out of whatever comes.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Json::Object(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_survive() {
        let read: Json =
            serde_json::from_str(r#"{"b": 1, "a": [true, null, "x"], "b": {}}"#).expect("valid");
        assert_eq!(
            read,
            Json::Object(vec![
                ("b".into(), Json::Other("1".into())),
                (
                    "a".into(),
                    Json::List(vec![
                        Json::Other("true".into()),
                        Json::Null,
                        Json::Text("x".into())
                    ])
                ),
                ("b".into(), Json::Object(vec![])),
            ])
        );
    }
}
