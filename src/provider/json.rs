//! Strict JSON: an object with repeated member names is refused, because parsers disagree about its meaning (RFC 8259
//! section 4).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Why a text was refused. The error contains no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonError {
    /// The text is not JSON, or it is nested too deeply.
    #[error("is not JSON")]
    Syntax,
    /// An object has a repeated member name.
    #[error("contains a repeated member name")]
    Repeated,
    /// The text is JSON, but not an object.
    #[error("is not a JSON object")]
    NotAnObject,
}

/// Parses any JSON value. serde_json limits the nesting depth.
pub(super) fn value(text: &[u8]) -> Result<Value, JsonError> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(error) if error.classify() == Category::Data => Err(JsonError::Repeated),
        Err(_) => Err(JsonError::Syntax),
    }
}

/// Parses a JSON object.
pub(super) fn object(text: &[u8]) -> Result<Object, JsonError> {
    match value(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// A value that was parsed strictly.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON without repeated names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = input.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some((name, Strict(value))) = input.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom(JsonError::Repeated));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repeated_name_is_refused_at_any_depth() {
        for bad in [
            r#"{"access_token":"a","access_token":"b"}"#,
            r#"{"a":[{"b":{"c":1,"d":2,"c":1}}]}"#,
            r#"{"sub":"1","\u0073ub":"2"}"#,
        ] {
            assert_eq!(object(bad.as_bytes()), Err(JsonError::Repeated), "{bad}");
        }
        assert!(object(br#"{"a":{"b":1},"b":{"b":1}}"#).is_ok());
    }

    #[test]
    fn other_values_than_objects_are_refused() {
        for bad in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(object(bad.as_bytes()), Err(JsonError::NotAnObject), "{bad}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        for bad in ["", "{", "{}{}", "{'a':1}", "<html>", "{\"a\":NaN}", "\u{feff}{}", &deep] {
            assert_eq!(object(bad.as_bytes()), Err(JsonError::Syntax), "{bad}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(JsonError::Syntax));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(|number: f64| json!(number)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn other_documents_are_parsed_like_serde_json(document in any_json()) {
            let text = document.to_string();
            prop_assert_eq!(value(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        }
    }
}
