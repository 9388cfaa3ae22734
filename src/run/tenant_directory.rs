//! The directory of tenants: its files, the table of their rows, and which files have changed.
//!
//! A file is read again when its stamp or that of a file that it names by `${file:}` has changed. Looking for changes takes stamps and
//! reads no file.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::watched_directories::directory_of;
use crate::config::{LARGEST_ROW, Problem, ReadRow, RowReader, Severity};
use crate::regular::{self, FileStamp};
use crate::tenants::{AppliedRows, RowChange, RowContent, Table, TableSettings, Tenant};

/// Up to so many rows are read by one thread; more are divided among all processors.
const FEW: usize = 64;

/// The rows of a directory, and the table that they make.
#[derive(Clone, Debug)]
pub(super) struct TenantDirectory {
    /// The path as configured.
    path: PathBuf,
    /// The path as events write it.
    watched: Arc<Path>,
    reader: RowReader,
    table: Table,
    /// Every file with a row, by name.
    rows: HashMap<Arc<str>, RowFile>,
    /// Every file that a row names, by the path as events write it.
    secrets: HashMap<Arc<Path>, SecretFile>,
    /// The directories of these files, and the number of files in each.
    secret_directories: HashMap<Arc<Path>, usize>,
}

#[derive(Clone, Debug)]
struct RowFile {
    stamp: FileStamp,
    secrets: Box<[Arc<Path>]>,
}

#[derive(Clone, Debug)]
struct SecretFile {
    stamp: FileStamp,
    /// The rows that name it.
    rows: Vec<Arc<str>>,
}

/// The outcome of reading rows.
#[derive(Debug, Default)]
pub(super) struct RowsRead {
    /// Rows whose state has changed.
    pub(super) applied: AppliedRows,
    /// The errors and warnings about rows, in the order of their names.
    pub(super) problems: Vec<Problem>,
}

impl TenantDirectory {
    /// Reads every row of a directory. Blocks for as long as that takes.
    pub(super) fn load(
        path: PathBuf,
        settings: TableSettings,
        reader: RowReader,
    ) -> io::Result<(Self, RowsRead)> {
        let names = row_names(&path)?;
        let mut directory = Self {
            watched: as_events_tell(&path).into(),
            path,
            reader,
            table: Table::default().with_settings(settings),
            rows: HashMap::with_capacity(names.len()),
            secrets: HashMap::new(),
            secret_directories: HashMap::new(),
        };
        let read = directory.read(&names);
        Ok((directory, read))
    }

    /// The same directory for another configuration, which reads again the rows whose meaning may have changed.
    pub(super) fn with(&self, settings: TableSettings, reader: RowReader) -> (Self, RowsRead) {
        let mut directory = self.clone();
        directory.table = directory.table.with_settings(settings);
        let is_same = reader.has_exporters_of(&self.reader);
        directory.reader = reader;
        if is_same {
            return (directory, RowsRead::default());
        }
        let naming =
            self.table.tenants().filter(|tenant| tenant.exporters.is_some()).map(|tenant| &tenant.place);
        let faulty = self.table.problems().map(|(place, ..)| place);
        let read = directory.read(&naming.chain(faulty).cloned().collect());
        (directory, read)
    }

    /// Where the rows are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The table that the rows make.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The directories in which a change may change the table.
    pub(super) fn watched(&self) -> HashSet<Arc<Path>> {
        self.secret_directories.keys().chain([&self.watched]).cloned().collect()
    }

    /// The part of these directories that concerns these rows.
    pub(super) fn watched_for(&self, names: &BTreeSet<Arc<str>>) -> HashSet<Arc<Path>> {
        let rows = names.iter().filter_map(|name| self.rows.get(name));
        let of_secrets = rows.flat_map(|row| &row.secrets).map(|path| directory_of(path).into());
        of_secrets.chain([self.watched.clone()]).collect()
    }

    /// The rows that a change of these files concerns; `None` if only [`TenantDirectory::changed`] can tell.
    pub(super) fn concerned(&self, files: &HashSet<PathBuf>) -> Option<BTreeSet<Arc<str>>> {
        let mut rows = BTreeSet::new();
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // A mount of Kubernetes swaps the link `..data`, and with it all files. A directory may itself have come or gone.
            if name.starts_with("..")
                || **file == *self.watched
                || self.secret_directories.contains_key(&**file)
            {
                return None;
            }
            if file.parent() == Some(&*self.watched) && is_row_name(name) {
                rows.insert(name.into());
            }
            rows.extend(self.secrets.get(&**file).into_iter().flat_map(|secret| secret.rows.iter().cloned()));
        }
        Some(rows)
    }

    /// The rows whose files have changed since they were read.
    pub(super) fn changed(&self) -> io::Result<BTreeSet<Arc<str>>> {
        let mut present: HashSet<Arc<str>> = HashSet::with_capacity(self.rows.len());
        let mut changed = BTreeSet::new();
        for name in row_names(&self.path)? {
            let now = FileStamp::of(&self.path.join(&*name));
            if self.rows.get(&name).is_none_or(|known| !known.stamp.tells_same(now)) {
                changed.insert(name.clone());
            }
            present.insert(name);
        }
        changed.extend(self.rows.keys().filter(|name| !present.contains(*name)).cloned());
        for (path, secret) in &self.secrets {
            if !secret.stamp.tells_same(FileStamp::of(path)) {
                changed.extend(secret.rows.iter().cloned());
            }
        }
        Ok(changed)
    }

    /// The text and the row in a file at this moment, which may not be in the table yet. Blocks as reading files does.
    pub(super) fn read_now(&self, name: &Arc<str>) -> io::Result<(String, ReadRow)> {
        let bytes = regular::read(&self.path.join(&**name), LARGEST_ROW as u64)?;
        let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))?;
        let read = self.read_as(name, &text);
        Ok((text, read))
    }

    /// The row that would be read if this were the text of its file. Blocks as reading the files does that it names.
    pub(super) fn read_as(&self, name: &Arc<str>, text: &str) -> ReadRow {
        self.reader.read_text(text, &self.path.join(&**name), name)
    }

    /// Why the table would not use this row if it were in its file; `None` if the table would.
    pub(super) fn why_unused(&self, row: &Arc<Tenant>) -> Option<String> {
        let change = RowChange { place: row.place.clone(), content: RowContent::Row(row.clone()) };
        let (table, _) = self.table.apply(vec![change], SystemTime::now());
        table.problem(&row.place).map(|problem| problem.text.clone())
    }

    /// Reads these rows again, and makes another table of them.
    pub(super) fn read(&mut self, names: &BTreeSet<Arc<str>>) -> RowsRead {
        let mut changes = Vec::with_capacity(names.len());
        let mut problems = Vec::new();
        let mut told = HashSet::new();
        let read = self.read_files(&names.iter().cloned().collect::<Vec<_>>());
        // Of a file that several rows name, nothing is left then of when it was read before.
        for name in names {
            self.forget(name);
        }
        for (name, stamp, ReadRow { content, problems: of_row, files }) in read {
            if !matches!(content, RowContent::Gone) {
                self.remember(&name, stamp, files);
            }
            if of_row.iter().any(|problem| problem.severity == Severity::Error) {
                told.insert(name.clone());
            }
            problems.extend(of_row);
            changes.push(RowChange { place: name, content });
        }
        let (table, applied) = self.table.apply(changes, SystemTime::now());
        self.table = table;
        // Conflicts between rows show in the table alone.
        let among_rows = applied.broken.iter().filter(|place| !told.contains(*place));
        problems.extend(among_rows.filter_map(|place| {
            let problem = self.table.problem(place)?;
            Some(Problem::of_file(&self.path.join(&**place), problem.text.clone()))
        }));
        RowsRead { applied, problems }
    }

    fn read_files(&self, names: &[Arc<str>]) -> Vec<(Arc<str>, FileStamp, ReadRow)> {
        let read = |names: &[Arc<str>]| -> Vec<(Arc<str>, FileStamp, ReadRow)> {
            let one = |name: &Arc<str>| {
                let path = self.path.join(&**name);
                // Taken before the file is read: if the file changes meanwhile, its stamp will differ.
                let stamp = FileStamp::of(&path);
                (name.clone(), stamp, self.reader.read(&path, name))
            };
            names.iter().map(one).collect()
        };
        if names.len() <= FEW {
            return read(names);
        }
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            let parts = names.chunks(names.len().div_ceil(threads));
            let reading: Vec<_> = parts.map(|part| scope.spawn(|| read(part))).collect();
            reading
                .into_iter()
                .flat_map(|thread| thread.join().expect("reading a row doesn't panic"))
                .collect()
        })
    }

    fn remember(&mut self, name: &Arc<str>, stamp: FileStamp, files: Vec<(PathBuf, FileStamp)>) {
        let secrets = files.into_iter().map(|(path, stamp)| {
            match self.secrets.entry(as_events_tell(&path).into()) {
                Entry::Occupied(mut known) => {
                    let secret = known.get_mut();
                    if !secret.stamp.tells_same(stamp) {
                        // Another row may have read the former content.
                        secret.stamp = FileStamp::Recent;
                    }
                    secret.rows.push(name.clone());
                    known.key().clone()
                }
                Entry::Vacant(place) => {
                    let path = place.key().clone();
                    *self.secret_directories.entry(directory_of(&path).into()).or_default() += 1;
                    place.insert(SecretFile { stamp, rows: vec![name.clone()] });
                    path
                }
            }
        });
        let secrets = secrets.collect();
        self.rows.insert(name.clone(), RowFile { stamp, secrets });
    }

    fn forget(&mut self, name: &Arc<str>) {
        let Some(row) = self.rows.remove(name) else { return };
        for path in row.secrets {
            let Some(secret) = self.secrets.get_mut(&path) else { continue };
            secret.rows.retain(|other| other != name);
            if !secret.rows.is_empty() {
                continue;
            }
            self.secrets.remove(&path);
            let directory = directory_of(&path);
            if let Some(files) = self.secret_directories.get_mut(&*directory) {
                *files -= 1;
                if *files == 0 {
                    self.secret_directories.remove(&*directory);
                }
            }
        }
    }
}

/// The names of the files with rows, in their order.
fn row_names(directory: &Path) -> io::Result<BTreeSet<Arc<str>>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        if let Some(name) = entry?.file_name().to_str().filter(|name| is_row_name(name)) {
            names.insert(name.into());
        }
    }
    Ok(names)
}

/// Whether a file of this name is a row, and no temporary file of an editor or hidden file of a mount.
fn is_row_name(name: &str) -> bool {
    !name.starts_with('.') && [".yaml", ".yml"].iter().any(|end| name.ends_with(end))
}

/// A path as events tell it: absolute, with its links.
fn as_events_tell(path: &Path) -> PathBuf {
    // Where this is can't fail to be known but for an empty path.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
