//! Entries divided by the streams that their records go to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;

use super::{Attributes, EntryOrigin, Hit, RouteTable, Text, is_usable};
use crate::otlp::{self, Entry, Found, NoRoom, RecordAttributes, Room, Signal};

impl RouteTable {
    /// Divides an entry of this origin by the streams that its records go to, where routes for its signal look at records: as
    /// [`otlp::partition`]. `None` where all go to the same.
    pub fn partition(
        &self,
        signal: Signal,
        entry: &Entry<'_>,
        origin: &EntryOrigin<'_>,
        room: &mut Room<'_>,
    ) -> Result<Option<Vec<Entry<'static>>>, NoRoom> {
        let names = &self.asked[signal.index()].record_names;
        if names.is_empty() {
            return Ok(None);
        }
        // A resource that conflicts with itself is not routed, whatever its records say.
        let Ok(values) = self.find_on_resource(entry) else { return Ok(None) };
        let mut ways: HashMap<String, u32> = HashMap::new();
        let mut way_of = |found: &[Found<'_>], room: &mut Room<'_>| {
            let way = self.way(signal, &values, found, origin);
            if let Some(known) = ways.get(&way) {
                return Some(*known);
            }
            let next = ways.len() as u32;
            room(way.len()).then(|| *ways.entry(way).or_insert(next))
        };
        otlp::partition(signal, entry, &RecordAttributes::new(names, is_usable), &mut way_of, room)
    }

    /// A text that is the same for records that go to the same streams, or are not routed for the same reason.
    fn way(
        &self,
        signal: Signal,
        values: &[Text<'_>],
        found: &[Found<'_>],
        origin: &EntryOrigin<'_>,
    ) -> String {
        let mut way = String::new();
        let record = match self.texts_of_record(signal, found.iter().copied()) {
            Ok(record) => record,
            Err(conflicting) => return conflicting.to_string(),
        };
        let request = match self.texts_of_request(signal, origin) {
            Ok(request) => request,
            Err(conflicting) => return conflicting.to_string(),
        };
        let (names, values) = (&self.attributes, values.iter().copied().collect());
        let attributes =
            Attributes { names, values, record, records: 1, request, signal, tenant: origin.tenant };
        // Whatever exporters these routes have.
        let origin = EntryOrigin { exporters: Some(&[0]), ..*origin };
        let hit = |hit: Hit<'_>| -> Result<(), Infallible> {
            write!(way, "{}\u{2}{}\u{2}", hit.route, hit.key).expect("writing to a String can't fail");
            Ok(())
        };
        let Ok(_) = self.ask(&attributes, &origin, &mut String::new(), hit, |_, _| {});
        way
    }

    /// Whether routes for the signal look at records.
    pub fn looks_at_records(&self, signal: Signal) -> bool {
        !self.asked[signal.index()].records.is_empty()
    }
}
