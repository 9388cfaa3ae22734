//! Maps whose keys are `TYPE` or `TYPE/NAME`, as the Collector writes receivers and exporters.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// The entries, in the order of the file.
pub(in crate::config) struct Named<T>(pub(in crate::config) Vec<(String, T)>);

/// Something whose type is told by the part of its name before `/`.
pub(in crate::config) trait Typed: Sized {
    /// What it is, in the words of the problems.
    const WHAT: &'static str;
    /// Every type's name.
    const TYPES: &'static [&'static str];

    /// The schema of a type.
    #[cfg(test)]
    fn schema(r#type: &str, generator: &mut schemars::SchemaGenerator) -> schemars::Schema;

    /// Reads the value of an entry of that type.
    fn read<'de, A: MapAccess<'de>>(r#type: &str, map: &mut A) -> Result<Self, A::Error>;
}

/// The type in `TYPE` or `TYPE/NAME`.
pub(in crate::config) fn type_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(before, _)| before)
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Typed> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamedVisitor<T>(PhantomData<T>);

        impl<'de, T: Typed> Visitor<'de> for NamedVisitor<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of {}s", T::WHAT)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let r#type = type_of(&name);
                    if !T::TYPES.contains(&r#type) {
                        return Err(A::Error::custom(format!("`{name}` is not a known type of {}", T::WHAT)));
                    }
                    let value = T::read(r#type, &mut map)?;
                    entries.push((name, value));
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

/// Only defaults are ever written, and the default is empty.
#[cfg(test)]
impl<T> serde::Serialize for Named<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
    }
}

#[cfg(test)]
impl<T: Typed> schemars::JsonSchema for Named<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}s", T::WHAT).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let patterns: serde_json::Map<String, serde_json::Value> = T::TYPES
            .iter()
            .map(|name| (format!("^{name}(/.+)?$"), T::schema(name, generator).to_value()))
            .collect();
        schemars::json_schema!({
            "type": "object",
            "patternProperties": patterns,
            "additionalProperties": false,
        })
    }
}
