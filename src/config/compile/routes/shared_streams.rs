//! Routes that put the same entry into the same stream, of which the first alone edits it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Context, conditions};
use crate::config::model::{ExporterSection, Named};
use crate::config::node::Node;
use crate::config::quoting::named;
use crate::route::{KeySpec, Matcher, RouteEdit, RouteSpec};

/// The routes so far that let an entry go on to later ones.
#[derive(Default)]
pub(super) struct ContinuingRoutes {
    /// The groups, by the positions of the exporters that they send to.
    by_exporter: HashMap<usize, Vec<SameEdits>>,
}

/// Routes with the same processors.
struct SameEdits {
    edits: Vec<Arc<RouteEdit>>,
    /// Their positions.
    routes: Vec<usize>,
}

/// Whether one entry may be taken by two routes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overlap {
    Never,
    /// It depends on values that are not known.
    Unknown,
    /// There is an entry that both take.
    Certain,
}

impl ContinuingRoutes {
    /// Of routes with the same processors so many are compared with each later one: the cost is the product.
    const MOST_OF_SAME_EDITS: usize = 1000;

    /// Adds the route at a position.
    pub(super) fn push(&mut self, position: usize, spec: &RouteSpec) {
        if !spec.continues {
            return;
        }
        for exporter in &spec.exporters {
            let groups = self.by_exporter.entry(*exporter).or_default();
            match groups.iter_mut().find(|group| is_same(&group.edits, &spec.edits)) {
                Some(group) if group.routes.len() < Self::MOST_OF_SAME_EDITS => group.routes.push(position),
                Some(_) => {}
                None => groups.push(SameEdits { edits: spec.edits.clone(), routes: vec![position] }),
            }
        }
    }

    /// Reports a route whose processors are skipped, as an earlier one puts the entry into the same stream with others.
    pub(super) fn check(
        &self,
        spec: &RouteSpec,
        node: &Node,
        earlier: &[(RouteSpec, &Node)],
        exporters: &Named<ExporterSection>,
        context: &mut Context<'_>,
    ) {
        // A condition that could not be compiled is not in the list, which then would claim too much.
        if context.report.has_error_within(node.span) {
            return;
        }
        for exporter in &spec.exporters {
            let groups = self.by_exporter.get(exporter).into_iter().flatten();
            let others = groups.filter(|group| !is_same(&group.edits, &spec.edits));
            for position in others.flat_map(|group| &group.routes) {
                let (other, other_node) = &earlier[*position];
                if !may_share_stream(other, spec) {
                    continue;
                }
                let overlap = overlap(other, spec);
                if overlap == Overlap::Never || context.report.has_error_within(other_node.span) {
                    continue;
                }
                let verb = if overlap == Overlap::Certain { "is" } else { "may be" };
                let message = format!(
                    "what the routes {} (line {}) and {} both take {verb} in one stream of {}, where the `processors` of the first \
                     alone count",
                    named(&other.name),
                    context.line_of(other_node.span.start),
                    named(&spec.name),
                    named(&exporters.0[*exporter].0),
                );
                let problem = match overlap {
                    Overlap::Certain => context.report.error(node.span, message),
                    Overlap::Unknown | Overlap::Never => context.report.warn(node.span, message),
                };
                problem.help("give one of them another `key`, or both the same `processors`");
                return;
            }
        }
    }
}

fn is_same(one: &[Arc<RouteEdit>], other: &[Arc<RouteEdit>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// Whether an entry that both take is in one stream of an exporter. Without a key a route's name is its stream.
fn may_share_stream(one: &RouteSpec, other: &RouteSpec) -> bool {
    let is_same_key = one.key == other.key && one.key != KeySpec::Route;
    is_same_key && one.signals.iter().zip(other.signals).any(|(one, other)| *one && other)
}

fn overlap(one: &RouteSpec, other: &RouteSpec) -> Overlap {
    if let (Some(one), Some(other)) = (&one.receivers, &other.receivers)
        && !one.iter().any(|name| other.contains(name))
    {
        return Overlap::Never;
    }
    let tenants = |spec: &RouteSpec| spec.tenants.clone().map(Matcher::AnyOf);
    let of_tenants = tenants(one).zip(tenants(other));
    let of_tenants = of_tenants.as_ref().map(|(one, other)| (one, other));
    let mut on_the_same = conditions(one)
        .flat_map(|(subject, name, matcher)| {
            let same = conditions(other).filter(move |(other, known, _)| (*other, *known) == (subject, name));
            same.map(move |(_, _, other)| (matcher, other))
        })
        .chain(of_tenants);
    on_the_same
        .try_fold(Overlap::Certain, |overlap, (one, other)| {
            if one.excludes(other) {
                None
            } else if one.implies(other) || other.implies(one) {
                Some(overlap)
            } else {
                Some(Overlap::Unknown)
            }
        })
        .unwrap_or(Overlap::Never)
}
