//! A document out of serde, and back into it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::document::{Document, Format, Node, Pair, Value};

/// A type for reading inner values: with their lines if the format has lines.
pub(super) trait Child<'de>: Deserialize<'de> {
    type Key: Deserialize<'de>;
    fn node(self) -> Node;
    fn key(key: Self::Key) -> (String, usize);
}

/// A value of any format, without lines.
struct Bare(Node);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Tree::<Bare>::deserialize(deserializer)?.into();
        Ok(Self(Node { line: 0, span: None, value }))
    }
}

impl<'de> Child<'de> for Bare {
    type Key = String;

    fn node(self) -> Node {
        self.0
    }

    fn key(key: String) -> (String, usize) {
        (key, 0)
    }
}

/// A value with inner values that are read as `C`.
pub(super) struct Tree<C>(Value, PhantomData<C>);

impl<C> From<Tree<C>> for Value {
    fn from(tree: Tree<C>) -> Self {
        tree.0
    }
}

impl<'de, C: Child<'de>> Deserialize<'de> for Tree<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader::<C>(PhantomData)).map(|value| Self(value, PhantomData))
    }
}

struct Reader<C>(PhantomData<C>);

impl<'de, C: Child<'de>> Visitor<'de> for Reader<C> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a configuration")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bare(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Bare(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Bare(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Bare(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Bare(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Bare(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<C>()? {
            items.push(item.node());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, child)) = map.next_entry::<C::Key, C>()? {
            let (key, line) = C::key(key);
            pairs.push(Pair { key, line, node: child.node() });
        }
        Ok(Value::Object(pairs))
    }
}

/// From any self-describing format. As in JSON, a number is not a string there.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bare::deserialize(deserializer).map(|Bare(root)| Self { root, format: Format::Json })
    }
}

/// With placeholders as they are written, so that no variable of the environment gets into it.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.root.serialize(serializer)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bare(word) => bare(word, &self.value, serializer),
            Value::List(items) => serializer.collect_seq(items),
            Value::Object(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for pair in pairs {
                    map.serialize_entry(&pair.key, &pair.node)?;
                }
                map.end()
            }
        }
    }
}

fn bare<S: Serializer>(word: &str, value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(truth) = value.truth() {
        return serializer.serialize_bool(truth);
    }
    if let Ok(whole) = word.parse::<i64>() {
        return serializer.serialize_i64(whole);
    }
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() => serializer.serialize_f64(number),
        _ => serializer.serialize_str(word),
    }
}
