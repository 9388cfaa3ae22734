//! Changes of the table of tenants by the API. Each changes a row's file in the directory of tenants as it is at that moment, and reads
//! the file as if a person had changed it. One change is made at a time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde_json::{Map, Value as Json};
use tokio::task::spawn_blocking;

use super::Router;
use super::tenant_change_error::TenantChangeError;
use super::tenant_directory::TenantDirectory;
use super::whole_files;
use crate::config::{LARGEST_ROW, Problem, ReadRow, RowText, is_tenant_id};
use crate::export::{Fate, ReleasedStreams, WaitingStreams};
use crate::otlp::Signal;
use crate::stream::StreamName;
use crate::tenants::{
    Credential, GeneratedToken, RowContent, Sender, TableRow, Tenant, TenantAccount, Tenants,
};
use crate::utc::rfc3339;

/// The keys of a row that a request may have, in the order in which they are written.
const FIELDS: [&str; 6] = ["platform", "values", "exporters", "limits", "paused", "hold"];

/// How many unknown keys of a request are reported in its answer.
const MOST_UNKNOWN: usize = 8;

/// The name of a sender that is made without one.
const SENDER: &str = "default";

/// The suffix of the sender that keeps a former token until it expires.
const FORMER: &str = "-old";

/// Characters of a sender's name that are kept when [`FORMER`] and a number come behind it.
const LONGEST_STEM: usize = 110;

/// How long a request waits until a tenant's pending data has become dead letters: less than clients wait for an answer.
const EMPTYING: Duration = Duration::from_secs(5);

/// How often the tenant's pending bytes are checked meanwhile.
const EMPTYING_POLL: Duration = Duration::from_millis(50);

/// Changes rows of the table of tenants.
pub struct TenantChanges {
    router: Arc<Router>,
}

/// The switches of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantSwitch {
    /// Refuse its senders.
    Pause,
    /// Take its senders on again.
    Resume,
    /// Deliver nothing of it.
    Hold,
    /// Deliver again.
    Release,
}

/// The outcome of a switch.
#[derive(Debug)]
pub struct SwitchedTenant {
    /// The tenant's row as it is now.
    pub row: Arc<Tenant>,
    /// The streams that a release has released.
    pub released: Option<ReleasedStreams>,
}

/// A token that was made for a sender. It is shown once, to the author of the request.
#[derive(Debug)]
pub struct IssuedToken {
    /// The tenant.
    pub tenant: String,
    /// The sender's name.
    pub sender: String,
    /// The token.
    pub token: SecretString,
    /// The sender that keeps the former token, and when that expires.
    pub former: Option<(String, SystemTime)>,
}

/// What became of the data of a tenant that was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedTenant {
    /// Framed bytes that are still pending, and go on becoming dead letters.
    pub pending_bytes: u64,
    /// Records that have become dead letters by now.
    pub dead_lettered: u64,
    /// Records that were dropped by now, since there was no room for dead letters.
    pub dropped: u64,
}

impl TenantSwitch {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Pause, Self::Resume, Self::Hold, Self::Release];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }

    /// The key of the row that the switch sets, and the value.
    const fn field(self) -> (&'static str, bool) {
        match self {
            Self::Pause => ("paused", true),
            Self::Resume => ("paused", false),
            Self::Hold => ("hold", true),
            Self::Release => ("hold", false),
        }
    }
}

impl TenantChanges {
    /// Changes of this router's table.
    pub fn of(router: Arc<Router>) -> Self {
        Self { router }
    }

    /// Adds a tenant with this row and one sender, whose token is returned.
    pub async fn create(&self, id: String, row: Map<String, Json>) -> Result<IssuedToken, TenantChangeError> {
        let router = self.router.clone();
        self.router
            .tenant_registry()
            .change(move |directory| {
                let is_free = matches!(file_of(directory, &id), Err(TenantChangeError::UnknownTenant));
                let is_known = router.tenants().known_account(&id).is_some();
                let left = pending_bytes_of(router.tenants(), &id);
                if is_free && left > 0 {
                    return Err(TenantChangeError::Leaving(left));
                }
                // Delivered data of an earlier tenant of this id must not come back after a crash, as data of this one.
                if let Some(journal) = router.intake().journal.as_ref().filter(|_| is_known) {
                    journal.make_settled_durable();
                }
                create(directory, id, &row)
            })
            .await
    }

    /// Replaces all that a tenant's row says but its senders.
    pub async fn replace(
        &self,
        id: String,
        row: Map<String, Json>,
    ) -> Result<Arc<Tenant>, TenantChangeError> {
        self.router
            .tenant_registry()
            .change(move |directory| {
                check_id(&id, &row)?;
                let mut file = RowInFile::find(directory, &id)?;
                fill(&mut file.row, &row)?;
                file.save(directory)
            })
            .await
    }

    /// Applies a JSON merge patch (RFC 7396) to a tenant's row.
    pub async fn patch(
        &self,
        id: String,
        mut patch: Map<String, Json>,
    ) -> Result<Arc<Tenant>, TenantChangeError> {
        self.router
            .tenant_registry()
            .change(move |directory| {
                check_id(&id, &patch)?;
                check_senders(&patch)?;
                patch.shift_remove("id");
                let mut file = RowInFile::find(directory, &id)?;
                file.row.merge(&patch)?;
                file.save(directory)
            })
            .await
    }

    /// Pauses or holds a tenant, or lets it go on. After a release its streams make at once the attempts that they wait for.
    pub async fn switch(
        &self,
        id: String,
        switch: TenantSwitch,
    ) -> Result<SwitchedTenant, TenantChangeError> {
        if switch != TenantSwitch::Release {
            let row = self.set_switch(id, switch).await?;
            return Ok(SwitchedTenant { row, released: None });
        }
        let (exporters, tenant) = (self.router.exporters(), id.clone());
        // Which streams the row holds has to be known before the row changes, and scanning all streams takes its time.
        let waiting = spawn_blocking(move || {
            let is_its = |name: &StreamName| name.key.tenant() == Some(&*tenant);
            exporters.iter().map(|exporter| WaitingStreams::of(exporter, is_its)).collect::<Vec<_>>()
        });
        let waiting = waiting.await.expect("looking at streams doesn't panic");
        let row = match self.set_switch(id.clone(), switch).await {
            // Where rows are changed by hand alone, the release of a tenant whose row holds nothing needs no change.
            Err(error @ TenantChangeError::NoDirectory) => match self.router.tenants().table().tenant(&id) {
                Some(TableRow::Ready(row)) if !row.hold => row.clone(),
                _ => return Err(error),
            },
            changed => changed?,
        };
        let trying = spawn_blocking(move || {
            let all = waiting.into_iter().map(WaitingStreams::try_now);
            all.fold(ReleasedStreams::default(), ReleasedStreams::and)
        });
        let released = trying.await.expect("waking streams doesn't panic");
        Ok(SwitchedTenant { row, released: Some(released) })
    }

    async fn set_switch(&self, id: String, switch: TenantSwitch) -> Result<Arc<Tenant>, TenantChangeError> {
        self.router
            .tenant_registry()
            .change(move |directory| {
                let mut file = RowInFile::find(directory, &id)?;
                file.usable(directory)?;
                let (key, value) = switch.field();
                file.row.set(key, &value.into())?;
                file.save(directory)
            })
            .await
    }

    /// Gives a sender another token: the sender of this name, or the only one that has a token. The former token expires after `overlap`.
    /// A tenant without senders gets one.
    pub async fn rotate(
        &self,
        id: String,
        sender: Option<String>,
        overlap: Duration,
    ) -> Result<IssuedToken, TenantChangeError> {
        self.router
            .tenant_registry()
            .change(move |directory| {
                let mut file = RowInFile::find(directory, &id)?;
                let tenant = file.usable(directory)?;
                let issued = rotate(&mut file.row, &tenant, sender.as_deref(), overlap)?;
                file.save(directory).map(|(name, _)| (name, issued))
            })
            .await
    }

    /// Removes a tenant of which nothing is pending.
    pub async fn delete(&self, id: String) -> Result<(), TenantChangeError> {
        let router = self.router.clone();
        self.router
            .tenant_registry()
            .change(move |directory| {
                let pending = pending_bytes_of(router.tenants(), &id);
                let (name, path) = match file_of(directory, &id) {
                    Err(TenantChangeError::UnknownTenant) if pending > 0 => {
                        return Err(TenantChangeError::PendingWithoutRow(pending));
                    }
                    found => found?,
                };
                if pending > 0 {
                    return Err(TenantChangeError::Pending(pending));
                }
                whole_files::remove(&path).map_err(|reason| TenantChangeError::File { path, reason })?;
                Ok((name, ()))
            })
            .await
    }

    /// Removes a tenant, whose row may be gone already, and has its pending data become dead letters. Waits for that for five seconds at
    /// most.
    pub async fn delete_with_pending(&self, id: String) -> Result<RemovedTenant, TenantChangeError> {
        if self.router.intake().dead_letters.load().is_none() {
            return Err(TenantChangeError::NoDeadLetters);
        }
        let before = self.ended_of(&id);
        let (tenants, removed) = (self.router.tenants().clone(), id.clone());
        let registry = self.router.tenant_registry();
        let removed = registry
            .change(move |directory| {
                let (name, path) = file_of(directory, &removed)?;
                let account = tenants.account(&removed);
                // Before its streams notice that the row is gone.
                account.give_up();
                whole_files::remove(&path).map_err(|reason| {
                    account.take_back();
                    TenantChangeError::File { path, reason }
                })?;
                Ok((name, ()))
            })
            .await;
        if let Err(error) = removed {
            let has_no_file = matches!(
                error,
                TenantChangeError::UnknownTenant
                    | TenantChangeError::NoDirectory
                    | TenantChangeError::NoTable
            );
            if has_no_file {
                // The table may still have a row whose file is gone, until the directory is looked at.
                registry.refresh(None).await;
            }
            if !(has_no_file && registry.give_up_gone(&id).await) {
                return Err(error);
            }
        }
        let emptying = async {
            while pending_bytes_of(self.router.tenants(), &id) > 0 {
                tokio::time::sleep(EMPTYING_POLL).await;
            }
        };
        // Pending data goes on becoming dead letters, whether anybody waits or not.
        let _ = tokio::time::timeout(EMPTYING, emptying).await;
        let [dead_lettered, dropped] = self.ended_of(&id);
        Ok(RemovedTenant {
            pending_bytes: pending_bytes_of(self.router.tenants(), &id),
            dead_lettered: dead_lettered.saturating_sub(before[0]),
            dropped: dropped.saturating_sub(before[1]),
        })
    }

    /// Records of a tenant that have become dead letters, and that were dropped.
    fn ended_of(&self, id: &str) -> [u64; 2] {
        let account = self.router.tenants().known_account(id);
        [Fate::DeadLettered, Fate::Dropped].map(|fate| {
            let of = |account: &Arc<TenantAccount>| {
                Signal::ALL.into_iter().map(|signal| account.totals().ended(signal, fate)).sum()
            };
            account.as_ref().map_or(0, of)
        })
    }
}

/// Framed bytes of a tenant that are not delivered, over all exporters.
fn pending_bytes_of(tenants: &Tenants, id: &str) -> u64 {
    tenants.known_account(id).map_or(0, |account| account.totals().pending_bytes())
}

/// The row of a tenant in its file.
struct RowInFile {
    name: Arc<str>,
    path: PathBuf,
    /// The text of the file as it was read.
    before: String,
    /// The row as it is to be written.
    row: RowText,
}

impl RowInFile {
    fn find(directory: &TenantDirectory, id: &str) -> Result<Self, TenantChangeError> {
        let (name, path) = file_of(directory, id)?;
        let (before, read) = match directory.read_now(&name) {
            Ok(read) => read,
            Err(reason) => return Err(TenantChangeError::File { path, reason }),
        };
        match RowText::parse(&before) {
            Some(row) => Ok(Self { name, path, before, row }),
            None => Err(TenantChangeError::Broken(read.problems)),
        }
    }

    /// The tenant of the row; an error if the row can't be used.
    fn usable(&self, directory: &TenantDirectory) -> Result<Arc<Tenant>, TenantChangeError> {
        tenant(directory.read_as(&self.name, self.row.as_str())).map_err(TenantChangeError::Broken)
    }

    /// Writes the row, if the table would use it.
    fn save(self, directory: &TenantDirectory) -> Result<(Arc<str>, Arc<Tenant>), TenantChangeError> {
        let Self { name, path, before, row } = self;
        let tenant = check(directory, &name, &row)?;
        if row.as_str() != before {
            match whole_files::replace(&path, &before, row.as_str()) {
                Ok(true) => {}
                Ok(false) => return Err(TenantChangeError::ChangedMeanwhile(path)),
                Err(reason) => return Err(TenantChangeError::File { path, reason }),
            }
        }
        Ok((name, tenant))
    }
}

fn create(
    directory: &TenantDirectory,
    id: String,
    fields: &Map<String, Json>,
) -> Result<(Arc<str>, IssuedToken), TenantChangeError> {
    if !is_tenant_id(&id) {
        return Err(TenantChangeError::NoId);
    }
    match file_of(directory, &id) {
        Err(TenantChangeError::UnknownTenant) => {}
        Ok((_, path)) | Err(TenantChangeError::Link(path) | TenantChangeError::TwoFiles(path, _)) => {
            return Err(TenantChangeError::TenantExists(path));
        }
        Err(error) => return Err(error),
    }
    let made = GeneratedToken::generate();
    let mut row = RowText::new(&id)?;
    // Before the senders, as people write it; the rest comes behind them.
    if let Some(platform) = fields.get("platform").filter(|platform| !platform.is_null()) {
        row.set("platform", platform)?;
    }
    row.add_sender(SENDER, &made.sha256)?;
    fill(&mut row, fields)?;
    let name: Arc<str> = format!("{id}.yaml").into();
    check(directory, &name, &row)?;
    let path = directory.path().join(&*name);
    match whole_files::create(&path, row.as_str()) {
        Ok(()) => {
            let issued =
                IssuedToken { tenant: id, sender: SENDER.to_owned(), token: made.token, former: None };
            Ok((name, issued))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(TenantChangeError::TenantExists(path))
        }
        Err(reason) => Err(TenantChangeError::File { path, reason }),
    }
}

/// The tenant of a row that is to be written; an error if the table would not use it. The token of a row that is not used would be of
/// no use.
fn check(
    directory: &TenantDirectory,
    name: &Arc<str>,
    row: &RowText,
) -> Result<Arc<Tenant>, TenantChangeError> {
    let size = row.as_str().len();
    if size > LARGEST_ROW {
        return Err(TenantChangeError::TooLarge(size));
    }
    let tenant = tenant(directory.read_as(name, row.as_str())).map_err(TenantChangeError::Unusable)?;
    match directory.why_unused(&tenant) {
        Some(problem) => Err(TenantChangeError::Conflict(problem)),
        None => Ok(tenant),
    }
}

/// Refuses an id in the body that differs from the one in the path.
fn check_id(id: &str, fields: &Map<String, Json>) -> Result<(), TenantChangeError> {
    match fields.get("id") {
        Some(other) if other.as_str() != Some(id) => Err(TenantChangeError::OtherId),
        _ => Ok(()),
    }
}

/// Refuses senders, which are changed in other ways.
fn check_senders(fields: &Map<String, Json>) -> Result<(), TenantChangeError> {
    if fields.contains_key("senders") { Err(TenantChangeError::Senders) } else { Ok(()) }
}

/// Replaces all keys of a row but its id and its senders by those of a request.
fn fill(row: &mut RowText, fields: &Map<String, Json>) -> Result<(), TenantChangeError> {
    check_senders(fields)?;
    for field in FIELDS {
        match fields.get(field) {
            None | Some(Json::Null) => row.remove(field)?,
            Some(value) => row.set(field, value)?,
        }
    }
    // Unknown keys are written too, so that checking the row reports them. Only a few, as each one rewrites the whole text.
    let others = fields.iter().filter(|(field, _)| *field != "id" && !FIELDS.contains(&&***field));
    for (field, value) in others.take(MOST_UNKNOWN) {
        row.set(field, value)?;
    }
    Ok(())
}

fn rotate(
    row: &mut RowText,
    tenant: &Tenant,
    sender: Option<&str>,
    overlap: Duration,
) -> Result<IssuedToken, TenantChangeError> {
    let now = SystemTime::now();
    let made = GeneratedToken::generate();
    let issued = |sender: &str, former| IssuedToken {
        tenant: tenant.id.to_string(),
        sender: sender.to_owned(),
        token: made.token.clone(),
        former,
    };
    let Some(position) = position(&tenant.senders, sender)? else {
        let name = sender.unwrap_or(SENDER);
        row.add_sender(name, &made.sha256)?;
        return Ok(issued(name, None));
    };
    let sender = &tenant.senders[position];
    let ends = now + overlap;
    let ends = sender.expires.map_or(ends, |expires| expires.min(ends));
    if let Some(present) = tenant.senders.iter().find(|present| is_former_of(sender, &present.name)) {
        return Err(TenantChangeError::FormerToken(present.name.to_string()));
    }
    let stem = former_stem(&sender.name);
    // Former tokens that have ended, or that an overlap of zero ends now.
    let is_over = |other: &Sender| {
        is_former_of(other, &sender.name)
            && (overlap.is_zero() || other.expires.is_some_and(|expires| expires <= now))
    };
    let over: Vec<usize> = tenant
        .senders
        .iter()
        .enumerate()
        .filter(|(other, sender)| *other != position && is_over(sender))
        .map(|(other, _)| other)
        .collect();
    let former = (ends > now).then(|| {
        let mut names = std::iter::once(stem.clone()).chain((2..).map(|number| format!("{stem}-{number}")));
        let is_free = |name: &String| !tenant.senders.iter().any(|other| *other.name == **name);
        (names.find(is_free).expect("there are more numbers than senders"), ends)
    });
    let written = former.as_ref().map(|(name, ends)| (name.as_str(), rfc3339(*ends)));
    row.change_token(position, &made.sha256, written.as_ref().map(|(name, ends)| (*name, ends.as_str())))?;
    let moved = usize::from(former.is_some());
    let over: Vec<usize> =
        over.into_iter().map(|other| if other > position { other + moved } else { other }).collect();
    row.remove_senders(&over)?;
    Ok(issued(&sender.name, former))
}

/// The beginning of the names of those senders that keep the former tokens of the sender of this name.
fn former_stem(name: &str) -> String {
    name.chars().take(LONGEST_STEM).collect::<String>() + FORMER
}

/// Whether a sender keeps a former token of the sender of this name.
fn is_former_of(sender: &Sender, name: &str) -> bool {
    let is_number = |rest: &str| rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok());
    let rest = sender.name.strip_prefix(&*former_stem(name));
    sender.expires.is_some() && rest.is_some_and(|rest| rest.is_empty() || is_number(rest))
}

/// The sender that is to get another token; `None` for one that is to be made.
fn position(senders: &[Sender], name: Option<&str>) -> Result<Option<usize>, TenantChangeError> {
    let has_token = |sender: &Sender| matches!(sender.credential, Credential::Token(_));
    let names = |senders: &mut dyn Iterator<Item = &Sender>| -> Vec<String> {
        senders.map(|sender| sender.name.to_string()).collect()
    };
    if let Some(name) = name {
        return match senders.iter().position(|sender| *sender.name == *name) {
            Some(position) if has_token(&senders[position]) => Ok(Some(position)),
            Some(_) => Err(TenantChangeError::NoToken),
            None if senders.is_empty() && is_tenant_id(name) => Ok(None),
            None => Err(TenantChangeError::UnknownSender(names(&mut senders.iter()))),
        };
    }
    // Senders whose token expires are about to go, and are not meant if there are others.
    let all = |lasting: bool| {
        let of_senders = senders.iter().enumerate();
        let fits =
            move |(_, sender): &(usize, &Sender)| has_token(sender) && !(lasting && sender.expires.is_some());
        of_senders.filter(fits).map(|(position, _)| position).collect::<Vec<_>>()
    };
    match (all(true).as_slice(), all(false).as_slice()) {
        ([only], _) | ([], [only]) => Ok(Some(*only)),
        _ if senders.is_empty() => Ok(None),
        ([], []) => Err(TenantChangeError::NoToken),
        _ => Err(TenantChangeError::SeveralSenders(names(
            &mut senders.iter().filter(|sender| has_token(sender)),
        ))),
    }
}

/// The file of a row, by its id.
fn file_of(directory: &TenantDirectory, id: &str) -> Result<(Arc<str>, PathBuf), TenantChangeError> {
    if !is_tenant_id(id) {
        return Err(TenantChangeError::UnknownTenant);
    }
    let mut found = None;
    for ending in ["yaml", "yml"] {
        let name = format!("{id}.{ending}");
        let path = directory.path().join(&name);
        match std::fs::symlink_metadata(&path) {
            Ok(_) if let Some((_, other)) = found => return Err(TenantChangeError::TwoFiles(other, path)),
            Ok(file) if file.is_symlink() => return Err(TenantChangeError::Link(path)),
            Ok(_) => found = Some((name.into(), path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(reason) => return Err(TenantChangeError::File { path, reason }),
        }
    }
    found.ok_or(TenantChangeError::UnknownTenant)
}

/// The tenant of a row, or the problems of the row.
fn tenant(read: ReadRow) -> Result<Arc<Tenant>, Vec<Problem>> {
    match read.content {
        RowContent::Row(tenant) => Ok(tenant),
        RowContent::Gone | RowContent::Broken(_) => Err(read.problems),
    }
}
