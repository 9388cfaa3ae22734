//! Hints about attributes that routes look at on resources, and that records have as well or instead.
//!
//! Routing looks up nothing for these hints. They are made where an operator asks, where a sender is told that no route takes an
//! entry, and of one entry now and then.

use std::fmt;

use super::{AskedAttribute, RouteTable, TestedValue, is_usable};
use otlp::{self, Entry, Found, RecordAttribute, RecordAttributes, Signal};

/// An attribute that routes look at on resources alone, and that the first record of an entry has with another value than its
/// resource, or instead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHint {
    name: String,
    /// The resource's value, which was used.
    on_resource: Option<String>,
    on_record: String,
    in_keys: bool,
    in_conditions: bool,
}

impl RecordHint {
    /// Every attribute of an entry to hint at, in the order in which routes name them.
    pub(super) fn of_entry(table: &RouteTable, signal: Signal, entry: &Entry<'_>) -> Vec<Self> {
        let asked = &table.asked[signal.index()];
        let only_on_resources = |known: &&AskedAttribute| {
            !asked.record_attributes.iter().any(|other| other.name == table.attributes[known.at])
        };
        let asked: Vec<AskedAttribute> = asked.resource.iter().filter(only_on_resources).copied().collect();
        let named = |asked: &AskedAttribute| RecordAttribute {
            name: table.attributes[asked.at].clone(),
            is_alone: false,
        };
        let names: Vec<RecordAttribute> = asked.iter().map(named).collect();
        let mut on_resource = vec![Found::Absent; names.len()];
        otlp::find(entry.resource(), &names, &mut on_resource);
        let on_record = RecordAttributes::new(&names, is_usable).of_first_record(signal, &entry.bytes);
        let text = |found| Some(TestedValue::of(found)?.key_text()?.to_owned());
        let hints = asked.iter().zip(on_resource).zip(on_record).map(|((asked, on_resource), on_record)| {
            let (on_resource, on_record) = (text(on_resource), text(on_record)?);
            (on_resource.as_ref() != Some(&on_record)).then(|| Self {
                name: table.attributes[asked.at].to_string(),
                on_resource,
                on_record,
                in_keys: asked.in_keys,
                in_conditions: asked.in_conditions,
            })
        });
        hints.flatten().collect()
    }

    /// Whether the resource has no value of use.
    pub fn is_missing_on_resource(&self) -> bool {
        self.on_resource.is_none()
    }
}

impl fmt::Display for RecordHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, on_resource, on_record, in_keys, in_conditions } = self;
        match on_resource {
            None => write!(f, "`{name}` is not on the resource; it is on the records: write ")?,
            Some(value) => write!(
                f,
                "`{name}` is `{value}` on the resource, which counted, and `{on_record}` on the first record: for records to \
                 count, write "
            )?,
        }
        if *in_conditions {
            write!(f, "`match: {{ record: {{ {name}: … }} }}`")?;
        }
        if *in_conditions && *in_keys {
            f.write_str(" and ")?;
        }
        if *in_keys {
            write!(f, "`key: {{ record: {name}, resource: {name} }}`")?;
        }
        Ok(())
    }
}
