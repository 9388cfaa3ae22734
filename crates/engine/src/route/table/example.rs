//! Resources that routes would take, for those who want to try a configuration. They are guesses: a condition can
//! contradict another, or be a regular expression that no guess meets, so [`RouteTable::route`] has the last word.

use super::{KeyReading, Route, RouteTable};

/// The attributes of a resource that the route may take; `filler` is the value of those that may have any.
pub(super) fn of_route<'t>(table: &'t RouteTable, route: &Route, filler: &str) -> Vec<(&'t str, String)> {
    let mut attributes: Vec<(&str, String)> = Vec::new();
    let wanted = route.matches.iter().filter_map(|(name, matcher)| Some((*name, matcher.example(filler)?)));
    for (name, value) in wanted {
        attributes.push((&table.attributes[name], value));
    }
    // Where the records have none, the resource's counts.
    for (either, matcher) in &route.record_matches {
        let name = &*table.attributes[either.resource];
        if let Some(value) = matcher.example(filler)
            && !attributes.iter().any(|(known, _)| *known == name)
        {
            attributes.push((name, value));
        }
    }
    let mut fill = |name: &'_ str| {
        let name = table.attributes().find(|known| *known == name).expect("the table knows all its names");
        if !attributes.iter().any(|(known, _)| *known == name) {
            attributes.push((name, filler.to_owned()));
        }
    };
    for reading in route.key_readings() {
        match reading {
            KeyReading::Attributes(names) | KeyReading::Records { resource: names, .. } => {
                let matched = |at: &usize| {
                    route.matches.iter().any(|(name, _)| name == at)
                        || route.record_matches.iter().any(|(either, _)| either.resource == *at)
                };
                if let Some(first) = names.first()
                    && !names.iter().any(matched)
                {
                    fill(&table.attributes[*first]);
                }
            }
            // A header is not part of a resource.
            KeyReading::Request { .. } => {}
            KeyReading::Template(template) => template.attributes().for_each(&mut fill),
        }
    }
    attributes
}
