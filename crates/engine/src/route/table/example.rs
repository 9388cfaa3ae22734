//! Resources that routes would take, for those who want to try a configuration. They are guesses: a condition can
//! contradict another, or be a regular expression that no guess meets, so [`RouteTable::route`] has the last word.

use super::{KeyReading, Route, RouteTable};
use crate::route::{ExactValue, Glob, Matcher};
use otlp::Signal;

impl RouteTable {
    /// For each route that takes the signal, in order, the attributes of a resource that it may take; `filler` is the
    /// value where any will do.
    pub fn examples(&self, signal: Signal, filler: &str) -> impl Iterator<Item = Vec<(&str, String)>> {
        let routes = self.routes.iter().filter(move |route| route.signals[signal.index()]);
        routes.map(move |route| self.example(route, filler))
    }

    /// The attributes that routes look at.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|name| &**name)
    }

    fn example(&self, route: &Route, filler: &str) -> Vec<(&str, String)> {
        let mut attributes: Vec<(&str, String)> = Vec::new();
        let wanted =
            route.matches.iter().filter_map(|(name, matcher)| Some((*name, matcher.example(filler)?)));
        for (name, value) in wanted {
            attributes.push((&self.attributes[name], value));
        }
        // Where the records have none, the resource's counts.
        for (either, matcher) in &route.record_matches {
            let name = &*self.attributes[either.resource];
            if let Some(value) = matcher.example(filler)
                && !attributes.iter().any(|(known, _)| *known == name)
            {
                attributes.push((name, value));
            }
        }
        let mut fill = |name: &'_ str| {
            let name = self.attributes().find(|known| *known == name).expect("the table knows all its names");
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
                        fill(&self.attributes[*first]);
                    }
                }
                // A header is not part of a resource.
                KeyReading::Request { .. } => {}
                KeyReading::Template(template) => template.attributes().for_each(&mut fill),
            }
        }
        attributes
    }
}

impl Matcher {
    /// A value that the condition may hold for; `None` where the attribute is better left out.
    fn example(&self, filler: &str) -> Option<String> {
        match self {
            Self::Glob(glob) => Some(glob.example(filler)),
            Self::AnyOf(globs) => globs.first().map(|glob| glob.example(filler)),
            Self::Equals(values) => values.first().map(|value| match value {
                ExactValue::Text(text) => text.clone(),
                ExactValue::Number(number) => number.to_string(),
                ExactValue::Boolean(flag) => flag.to_string(),
            }),
            Self::Regex(_) | Self::Exists(true) => Some(filler.to_owned()),
            Self::Exists(false) | Self::Not(_) => None,
            Self::All(all) => all.iter().find_map(|one| one.example(filler)),
        }
    }
}

impl Glob {
    fn example(&self, filler: &str) -> String {
        match self {
            Self::Any => filler.to_owned(),
            Self::Literal(text) => text.clone(),
            Self::Pattern(pattern) => pattern.replace('*', filler).replace('?', "x"),
        }
    }
}
