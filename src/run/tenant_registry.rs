//! The table of tenants in use, and the directory that its rows are read from: each change of either makes another table of the one
//! in use, one change at a time.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Notify, OwnedMutexGuard};
use tracing::{info, warn};

use super::report::ReloadError;
use super::tenant_change_error::TenantChangeError;
use super::tenant_directory::{RowsRead, TenantDirectory};
use super::watched_directories::WatchedDirectories;
use crate::config::{Compiled, Problem, RowCheck, RowReader, SecretPresence, TenantRows, TenantTable};
use crate::notice;
use crate::tenants::{Table, TableSettings, Tenants};

/// The table in use, and the directory of its rows.
pub(super) struct TenantRegistry {
    tenants: Arc<Tenants>,
    /// Held while another table is made of the one in use.
    directory: Arc<tokio::sync::Mutex<Option<TenantDirectory>>>,
    /// Tells that a reload has changed the directory.
    reloaded: Notify,
}

/// The table of a configuration that is not in use yet. As long as this value exists, no other table comes into use.
pub(super) struct NextTable {
    place: OwnedMutexGuard<Option<TenantDirectory>>,
    directory: Option<TenantDirectory>,
    table: Table,
    read: RowsRead,
}

impl TenantRegistry {
    pub(super) fn new(tenants: Arc<Tenants>) -> Self {
        Self { tenants, directory: Arc::default(), reloaded: Notify::new() }
    }

    /// The table in use.
    pub(super) fn tenants(&self) -> &Arc<Tenants> {
        &self.tenants
    }

    /// Makes the table of a configuration, for [`TenantRegistry::put_to_use`]; until then nothing changes.
    pub(super) async fn prepare(
        &self,
        compiled: &Compiled,
        env: fn(&str) -> Option<String>,
    ) -> Result<NextTable, ReloadError> {
        let place = self.directory.clone().lock_owned().await;
        let Some(TenantTable { settings, rows }) = compiled.tenants.clone() else {
            return Ok(NextTable {
                place,
                directory: None,
                table: Table::default(),
                read: RowsRead::default(),
            });
        };
        let reader = RowReader::new(compiled, env, SecretPresence::Needed, RowCheck::Alone);
        let tenants = self.tenants.clone();
        let made = tokio::task::spawn_blocking(move || {
            let path = match rows {
                TenantRows::Listed(listed) => {
                    let table = Table::of(settings, &listed, &tenants.table());
                    return Ok(NextTable { place, directory: None, table, read: RowsRead::default() });
                }
                TenantRows::Directory(path) => path,
            };
            let made = match place.as_ref().filter(|known| known.path() == path) {
                Some(known) => Ok(known.with(settings, reader)),
                None => TenantDirectory::load(path.clone(), settings, reader),
            };
            match made {
                Ok((directory, read)) => {
                    let table = directory.table().clone();
                    Ok(NextTable { place, directory: Some(directory), table, read })
                }
                Err(reason) => Err(ReloadError::Tenants { directory: path, reason: Arc::new(reason) }),
            }
        });
        made.await.expect("reading rows doesn't panic")
    }

    /// Puts the table of a configuration to use.
    pub(super) fn put_to_use(&self, next: NextTable) {
        let NextTable { mut place, directory, table, read } = next;
        if let Some(directory) = &directory {
            report(directory, &read);
            let (ready, broken) = (table.tenants().count(), table.problems().count());
            info!(tenants = ready, broken, directory = %directory.path().display(), "the table of tenants is in use");
        }
        *place = directory;
        self.tenants.swap(table);
        drop(place);
        self.reloaded.notify_one();
    }

    /// Runs `change`, which changes the file of a row and returns its name, and reads that file: ready when the table in use has the row.
    /// Meanwhile no other change of the table or of a file is made.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&TenantDirectory) -> Result<(Arc<str>, T), TenantChangeError> + Send + 'static,
    ) -> Result<T, TenantChangeError> {
        let mut place = self.directory.clone().lock_owned().await;
        let tenants = self.tenants.clone();
        let changing = tokio::task::spawn_blocking(move || {
            let Some(directory) = place.as_mut() else {
                return Err(if tenants.table().is_configured() {
                    TenantChangeError::NoDirectory
                } else {
                    TenantChangeError::NoTable
                });
            };
            let (name, made) = change(directory)?;
            let read = directory.read(&BTreeSet::from([name.clone()]));
            tenants.swap(directory.table().clone());
            report(directory, &read);
            match directory.table().problem(&name) {
                Some(problem) => Err(TenantChangeError::Unused(problem.text.clone())),
                None => Ok(made),
            }
        });
        changing.await.expect("changing a row doesn't panic")
    }

    /// Has the pending data of a tenant without a row become dead letters. Returns whether there is such a tenant.
    pub(super) async fn give_up_gone(&self, id: &str) -> bool {
        // Locked so that no row for the id comes meanwhile.
        let _place = self.directory.lock().await;
        let account = self.tenants.known_account(id).filter(|account| account.totals().pending_bytes() > 0);
        let Some(account) = account.filter(|_| self.tenants.table().tenant(id).is_none()) else {
            return false;
        };
        account.give_up();
        true
    }

    /// Returns when a reload has changed the directory.
    pub(super) async fn reloaded(&self) {
        self.reloaded.notified().await;
    }

    /// Has `watched` follow the directories of `also`, too; or, without them, exactly the directories in which a change may change the
    /// table. Returns whether there are some that it did not follow before.
    pub(super) async fn follow(
        &self,
        mut watched: WatchedDirectories,
        also: Option<HashSet<Arc<Path>>>,
    ) -> (WatchedDirectories, bool) {
        let directory = self.directory.clone();
        let following = tokio::task::spawn_blocking(move || {
            let others = if let Some(directories) = also {
                watched.follow_also(&directories)
            } else {
                let all =
                    directory.blocking_lock().as_ref().map(TenantDirectory::watched).unwrap_or_default();
                watched.follow(&all)
            };
            (watched, others)
        });
        following.await.expect("watching directories doesn't panic")
    }

    /// Reads changed rows again: those that `files` concern, or, without them, all whose stamps have changed. Returns once the table is
    /// in use, with the directories that concern these rows.
    pub(super) async fn refresh(&self, files: Option<HashSet<PathBuf>>) -> HashSet<Arc<Path>> {
        let mut place = self.directory.clone().lock_owned().await;
        let tenants = self.tenants.clone();
        let refreshing = tokio::task::spawn_blocking(move || {
            let Some(directory) = place.as_mut() else { return HashSet::new() };
            let names = match files.and_then(|files| directory.concerned(&files)) {
                Some(names) => names,
                None => match directory.changed() {
                    Ok(names) => names,
                    Err(reason) => {
                        if let Some(suppressed) = notice::due("tenants", "directory") {
                            warn!(
                                suppressed,
                                "can't read the directory of tenants `{}`, the table stays as it is: {reason}",
                                directory.path().display()
                            );
                        }
                        return HashSet::new();
                    }
                },
            };
            if names.is_empty() {
                return HashSet::new();
            }
            let read = directory.read(&names);
            tenants.swap(directory.table().clone());
            report(directory, &read);
            directory.watched_for(&names)
        });
        refreshing.await.expect("reading rows doesn't panic")
    }
}

/// Logs the rows that have become broken, and those that can be used again.
fn report(directory: &TenantDirectory, read: &RowsRead) {
    let table = directory.table();
    for place in &read.applied.broken {
        let Some(problem) = table.problem(place) else { continue };
        let Some(suppressed) = notice::due_for_one_of_many(&("tenants", place), "broken row") else {
            continue;
        };
        let row = directory.path().join(&**place);
        let then = if table.is_tenant(place) { "its tenant stays as it was" } else { "its senders get 503" };
        let problem = &problem.text;
        warn!(row = %row.display(), suppressed, "a row of the table of tenants can't be used, {then}: {problem}");
    }
    for place in &read.applied.repaired {
        if let Some(suppressed) = notice::due_for_one_of_many(&("tenants", place), "repaired row") {
            let row = directory.path().join(&**place);
            info!(row = %row.display(), suppressed, "a row of the table of tenants can be used again");
        }
    }
}

/// The table of a configuration that is not going to run. Rows that can't be used are left out. Blocks.
pub fn table_of(
    compiled: &Compiled,
    env: fn(&str) -> Option<String>,
    secrets: SecretPresence,
) -> std::io::Result<Table> {
    let Some(TenantTable { settings, rows }) = compiled.tenants.clone() else { return Ok(Table::default()) };
    match rows {
        TenantRows::Listed(tenants) => Ok(Table::of(settings, &tenants, &Table::default())),
        TenantRows::Directory(path) if secrets == SecretPresence::Optional && !path.exists() => {
            Ok(Table::of(settings, &[], &Table::default()))
        }
        TenantRows::Directory(path) => {
            let reader = RowReader::new(compiled, env, secrets, RowCheck::Alone);
            Ok(TenantDirectory::load(path, settings, reader)?.0.table().clone())
        }
    }
}

/// Reads every row of a directory, and returns how many can be used, how many can't, and their problems. Blocks for as long as that
/// takes.
pub fn check_tenants(directory: &Path, reader: RowReader) -> std::io::Result<(usize, usize, Vec<Problem>)> {
    let (directory, read) = TenantDirectory::load(directory.to_owned(), TableSettings::default(), reader)?;
    let table = directory.table();
    Ok((table.tenants().count(), table.problems().count(), read.problems))
}
