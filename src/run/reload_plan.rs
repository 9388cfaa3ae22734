//! The plan of a reload: what it would do.

use std::sync::Arc;

use serde::Serialize;

use super::report::ReloadError;
use crate::config::{Compiled, ConfigDifference, ConfigOutline, Problem, SubstitutedValues, TenantRows};
use crate::export::Exporter;
use crate::receive::ConfigSnapshot;

/// What a reload would do. Holds no secret.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReloadPlan {
    /// What works in the new configuration, but not as its writer may think.
    pub warnings: Vec<Problem>,
    /// Exporters. Changed ones go on with their streams; removed ones drain.
    pub exporters: SectionChanges,
    /// Routes.
    pub routes: SectionChanges,
    /// Receivers.
    pub receivers: SectionChanges,
    /// The differences in the other sections.
    pub settings: Vec<ConfigDifference>,
    /// Streams of removed exporters that still have something to deliver.
    pub streams_to_drain: usize,
    /// Bytes that these streams have.
    pub pending_bytes_to_drain: u64,
    /// Why the reload would be refused until Sluice is restarted.
    pub needs_restart: Vec<String>,
}

/// The changes of the parts of a section, by their names.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SectionChanges {
    /// New parts.
    pub added: Vec<String>,
    /// Removed parts.
    pub removed: Vec<String>,
    /// Parts that stay and change.
    pub changed: Vec<ChangedPart>,
    /// Whether the parts that stay are in another order, which matters for routes.
    pub reordered: bool,
}

/// A part of a section that is changed.
#[derive(Clone, Debug, Serialize)]
pub struct ChangedPart {
    /// Its name.
    pub name: String,
    /// The differences in its configuration; empty where something else has changed, such as the content of a file that it names.
    pub fields: Vec<ConfigDifference>,
}

impl ReloadPlan {
    /// Compares the configuration of this snapshot and outline with `compiled`, which changes these exporters. Blocks.
    pub(super) fn of(
        snapshot: &ConfigSnapshot,
        before: &ConfigOutline,
        mut changed: Vec<Arc<str>>,
        compiled: Compiled,
        needs_restart: Vec<String>,
    ) -> Result<Self, ReloadError> {
        if let Some(TenantRows::Directory(directory)) = compiled.tenants.as_ref().map(|tenants| &tenants.rows)
            && let Err(reason) = std::fs::read_dir(directory)
        {
            let (directory, reason) = (directory.clone(), Arc::new(reason));
            return Err(ReloadError::Tenants { directory, reason });
        }
        // An exporter that drains and comes back counts as new.
        changed.retain(|name| snapshot.exporters.iter().any(|exporter| exporter.name() == name));
        let after = &compiled.outline;
        let mut exporters = SectionChanges::of(
            &snapshot.exporters.iter().map(|exporter| exporter.name().to_string()).collect::<Vec<_>>(),
            compiled.exporters.iter().map(|(name, _)| name.to_string()).collect(),
            |name, _, _| before.differences(&["exporters", name], after, &["exporters", name]),
        );
        // A part that is written in another way and means the same is unchanged; the content of a file or a preset may change a part.
        exporters.changed.retain(|part| changed.iter().any(|name| **name == *part.name));
        let unnamed =
            changed.iter().filter(|name| !exporters.changed.iter().any(|part| *part.name == ***name));
        let unnamed: Vec<ChangedPart> =
            unnamed.map(|name| ChangedPart { name: name.to_string(), fields: Vec::new() }).collect();
        exporters.changed.extend(unnamed);
        exporters.reordered = false;
        let routes = SectionChanges::of(
            &snapshot.routes.names().map(str::to_owned).collect::<Vec<_>>(),
            compiled.routes.iter().map(|route| route.name.clone()).collect(),
            |_, at, to| before.differences(&["routes", &at.to_string()], after, &["routes", &to.to_string()]),
        );
        let names = |outline: &ConfigOutline| {
            outline.keys(&["receivers"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let receivers = SectionChanges::of(&names(before), names(after), |name, _, _| {
            before.differences(&["receivers", name], after, &["receivers", name])
        });
        let is_other = |field: &ConfigDifference| {
            let section = field.field.split('.').next().unwrap_or_default();
            !["exporters", "routes", "receivers"].contains(&section)
        };
        let settings = before.differences(&[], after, &[]).into_iter().filter(is_other).collect();
        let removed = snapshot
            .exporters
            .iter()
            .filter(|exporter| exporters.removed.contains(&exporter.name().to_string()));
        let (mut streams_to_drain, mut pending_bytes_to_drain) = (0, 0);
        for exporter in removed {
            streams_to_drain += streams_with_data(exporter);
            pending_bytes_to_drain += exporter.registry().pending_bytes();
        }
        let warnings = compiled.warnings;
        Ok(Self {
            warnings,
            exporters,
            routes,
            receivers,
            settings,
            streams_to_drain,
            pending_bytes_to_drain,
            needs_restart,
        })
    }

    /// The plan without what variables and files have given, which names and sentences may have in them.
    pub(super) fn without(mut self, substituted: &SubstitutedValues) -> Self {
        let sections = [&mut self.exporters, &mut self.routes, &mut self.receivers];
        for section in sections {
            let names = section.added.iter_mut().chain(&mut section.removed);
            for name in names.chain(section.changed.iter_mut().map(|part| &mut part.name)) {
                *name = substituted.hide(name);
            }
        }
        for sentence in &mut self.needs_restart {
            *sentence = substituted.hide(sentence);
        }
        self
    }
}

fn streams_with_data(exporter: &Exporter) -> usize {
    let mut streams = 0;
    exporter.registry().for_each(|stream| streams += usize::from(stream.state().pending_bytes > 0));
    streams
}

impl SectionChanges {
    /// The changes of parts with these names, in their order; `differences` returns the differences of a part that stays, given its name
    /// and its positions before and after.
    fn of(
        before: &[String],
        after: Vec<String>,
        differences: impl Fn(&str, usize, usize) -> Vec<ConfigDifference>,
    ) -> Self {
        let mut changes = Self::default();
        let mut last = None;
        for (at, name) in before.iter().enumerate() {
            let Some(to) = after.iter().position(|other| other == name) else {
                changes.removed.push(name.clone());
                continue;
            };
            changes.reordered |= last > Some(to);
            last = Some(to);
            let fields = differences(name, at, to);
            if !fields.is_empty() {
                changes.changed.push(ChangedPart { name: name.clone(), fields });
            }
        }
        changes.added = after.into_iter().filter(|name| !before.contains(name)).collect();
        changes
    }
}
