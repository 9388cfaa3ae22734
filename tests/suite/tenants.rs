//! The table of tenants: where its rows come from, and what becomes of them while Sluice runs.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use sluice::run;
use sluice::tenants::{SenderLookup, Table, TableRow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::support::{Sluice, SluiceProcess, eventually};

const ROUTES: &str = "exporters: { debug: }\nroutes: [{ exporters: [debug] }]\n";

/// A configuration with this table.
fn with(tenants: &str) -> String {
    format!("{ROUTES}tenants: {tenants}\n")
}

fn of_directory(directory: &Path) -> String {
    with(&format!("{{ directory: '{}' }}", directory.display()))
}

fn row(id: &str, token: &str) -> String {
    format!("id: {id}\nsenders: [{{ name: web, token: \"{token}\" }}]\n")
}

/// Writes a file as a whole, as whoever keeps rows should.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// Sluice whose table is kept current, as `sluice run` does.
async fn start(yaml: &str) -> Sluice {
    let sluice = Sluice::start(yaml).await;
    tokio::spawn(run::watch_tenants(sluice.router().clone()));
    sluice
}

/// Whose a token is, or why it is nobody's.
fn whose(sluice: &Sluice, token: &str) -> String {
    whose_by(&sluice.router().tenants().table(), token)
}

fn whose_by(table: &Table, token: &str) -> String {
    match table.by_token(token.as_bytes(), SystemTime::now()) {
        SenderLookup::Sender { tenant, .. } => tenant.id.to_string(),
        other => format!("{other:?}"),
    }
}

async fn becomes(sluice: &Sluice, token: &str, expected: &str) {
    let what = format!("{token} is {expected}");
    eventually(&what, async || (whose(sluice, token) == expected).then_some(())).await;
}

#[tokio::test]
async fn a_file_that_comes_changes_or_goes_is_a_tenant_that_does() {
    let rows = tempfile::tempdir().unwrap();
    let file = |id: &str| rows.path().join(format!("{id}.yaml"));
    write(&file("acme"), &row("acme", "one"));
    let sluice = start(&of_directory(rows.path())).await;
    assert_eq!(whose(&sluice, "one"), "acme", "it is there from the start");
    write(&file("globex"), &row("globex", "two"));
    becomes(&sluice, "two", "globex").await;
    std::fs::write(file("acme"), row("acme", "three")).unwrap();
    becomes(&sluice, "three", "acme").await;
    becomes(&sluice, "one", "Unknown").await;
    std::fs::remove_file(file("acme")).unwrap();
    becomes(&sluice, "three", "Unknown").await;
    assert_eq!(whose(&sluice, "two"), "globex");
}

/// Waits until nothing that was written just now may change again without that its times tell, for which it would be read once more.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// The files of a directory that are opened from now on, by whomever.
struct Opened(Inotify);

impl Opened {
    fn of(directory: &Path) -> Self {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        watch.add_watch(directory, AddWatchFlags::IN_OPEN).unwrap();
        Self(watch)
    }

    /// The names of those that were opened meanwhile.
    fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        while let Ok(events) = self.0.read_events() {
            assert!(
                events.iter().all(|event| !event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)),
                "more are opened than can be told"
            );
            names.extend(
                events.into_iter().filter_map(|event| event.name).map(|name| name.into_string().unwrap()),
            );
        }
        names
    }
}

#[tokio::test]
async fn a_change_of_one_file_among_thousands_is_in_use_within_a_second_and_no_other_is_opened() {
    let rows = tempfile::tempdir().unwrap();
    for number in 0..3000 {
        let (id, token) = (format!("t{number}"), format!("token-{number}"));
        std::fs::write(rows.path().join(format!("{id}.yaml")), row(&id, &token)).unwrap();
    }
    settled().await;
    let sluice = start(&of_directory(rows.path())).await;
    // Once the directory is watched, a change is seen by its event alone.
    write(&rows.path().join("t7.yaml"), &row("t7", "first"));
    becomes(&sluice, "first", "t7").await;
    let opened = Opened::of(rows.path());
    let mut times = Vec::new();
    for round in 0..5 {
        let token = format!("round-{round}");
        let begun = Instant::now();
        write(&rows.path().join("t7.yaml"), &row("t7", &token));
        becomes(&sluice, &token, "t7").await;
        times.push(begun.elapsed());
    }
    times.sort();
    // The middle one, since the machine may be busy otherwise.
    assert!(times[2] < Duration::from_secs(1), "{times:?}");
    assert_eq!(opened.names(), ["t7.new", "t7.yaml"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_broken_row_costs_itself_alone_and_says_what_is_wrong() {
    let rows = tempfile::tempdir().unwrap();
    let file = |id: &str| rows.path().join(format!("{id}.yaml"));
    write(&file("acme"), &row("acme", "one"));
    write(&file("globex"), "id: globex\nsenders: [{ name: web, token: \"${file:/no/such/secret}\" }]\n");
    let sluice = start(&of_directory(rows.path())).await;
    assert_eq!(whose(&sluice, "one"), "acme");
    assert_eq!(whose(&sluice, "two"), "Unavailable", "it may be globex's");
    {
        let table = sluice.router().tenants().table();
        assert!(matches!(table.tenant("globex"), Some(TableRow::Broken)));
        let problem = &table.problem("globex.yaml").unwrap().text;
        assert!(problem.contains("can't read the file `/no/such/secret`"), "{problem}");
    }
    write(&file("acme"), "id: acme\nsenders: [{ name: web, tokn: two }]\n");
    eventually("a problem of acme", async || {
        sluice
            .router()
            .tenants()
            .table()
            .problem("acme.yaml")
            .map(|problem| assert!(!problem.text.contains("two")))
    })
    .await;
    assert_eq!(whose(&sluice, "one"), "acme", "it keeps what it had");
    write(&file("globex"), &row("globex", "two"));
    becomes(&sluice, "two", "globex").await;
}

#[tokio::test]
async fn a_secret_that_changes_has_the_rows_read_again_that_name_it_and_no_others() {
    let (rows, secrets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = secrets.path().join("acme");
    write(&secret, "one\n");
    write(&rows.path().join("acme.yaml"), &row("acme", &format!("${{file:{}}}", secret.display())));
    write(&rows.path().join("globex.yaml"), &row("globex", "two"));
    settled().await;
    let sluice = start(&of_directory(rows.path())).await;
    let opened = Opened::of(rows.path());
    write(&secret, "three\n");
    becomes(&sluice, "three", "acme").await;
    assert_eq!(opened.names(), ["acme.yaml".to_owned()].into());
}

#[tokio::test]
async fn secrets_in_one_directory_that_rows_name_by_two_paths_are_each_in_use_at_once() {
    let (rows, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [secrets, link] = ["secrets", "link"].map(|name| place.path().join(name));
    std::fs::create_dir(&secrets).unwrap();
    symlink("secrets", &link).unwrap();
    for (id, directory) in [("acme", &secrets), ("globex", &link)] {
        write(&secrets.join(id), id);
        let named = format!("${{file:{}}}", directory.join(id).display());
        write(&rows.path().join(format!("{id}.yaml")), &row(id, &named));
    }
    let sluice = start(&of_directory(rows.path())).await;
    // A look at all files would find any change as well, some seconds later: of several rounds not all can be that lucky.
    let began = Instant::now();
    for round in 0..8 {
        for id in ["acme", "globex"] {
            let token = format!("{id}-{round}");
            write(&secrets.join(id), &token);
            becomes(&sluice, &token, id).await;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_config_map_that_is_swapped_changes_all_its_rows() {
    let mount = tempfile::tempdir().unwrap();
    let swap = |version: &str, token: &str| {
        let data = mount.path().join(version);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("acme.yaml"), row("acme", token)).unwrap();
        symlink(version, mount.path().join("..data_tmp")).unwrap();
        std::fs::rename(mount.path().join("..data_tmp"), mount.path().join("..data")).unwrap();
    };
    swap("..1", "one");
    symlink("..data/acme.yaml", mount.path().join("acme.yaml")).unwrap();
    let sluice = start(&of_directory(mount.path())).await;
    assert_eq!(whose(&sluice, "one"), "acme");
    swap("..2", "two");
    becomes(&sluice, "two", "acme").await;
}

#[tokio::test]
async fn tokens_that_change_hands_in_one_step_are_in_use_in_one_step() {
    let rows = tempfile::tempdir().unwrap();
    let write_both = |acme: &str, globex: &str| {
        write(&rows.path().join("acme.yaml"), &row("acme", acme));
        write(&rows.path().join("globex.yaml"), &row("globex", globex));
    };
    write_both("one", "two");
    let sluice = Arc::new(start(&of_directory(rows.path())).await);
    // Whose both tokens are, by one and the same table.
    let both = |sluice: &Sluice| {
        let table = sluice.router().tenants().table().clone();
        ["one", "two"].map(|token| whose_by(&table, token))
    };
    let done = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn({
        let (sluice, done) = (sluice.clone(), done.clone());
        async move {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Acquire) {
                seen.insert(both(&sluice));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen
        }
    });
    for round in 0..5 {
        let (acme, globex) = if round % 2 == 0 { ("two", "one") } else { ("one", "two") };
        write_both(acme, globex);
        becomes(&sluice, acme, "acme").await;
        becomes(&sluice, globex, "globex").await;
    }
    done.store(true, Ordering::Release);
    let states = [["acme", "globex"], ["globex", "acme"]].map(|state| state.map(str::to_owned));
    assert_eq!(looking.await.unwrap(), states.into(), "never one without the other");
    assert_eq!(sluice.router().tenants().table().problems().count(), 0);
}

#[tokio::test]
async fn a_reload_brings_a_table_changes_it_and_takes_it_away() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&first.path().join("acme.yaml"), &row("acme", "one"));
    write(&second.path().join("globex.yaml"), &row("globex", "two"));
    let sluice = start(ROUTES).await;
    assert!(!sluice.router().tenants().table().is_configured());
    sluice.reconfigure(&of_directory(first.path())).await;
    assert_eq!(whose(&sluice, "one"), "acme");

    let refused = sluice.reload(&of_directory(&first.path().join("not-there"))).await;
    assert_eq!(refused.status, 422);
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(text.contains("can't read the directory of tenants"), "{text}");
    assert_eq!(whose(&sluice, "one"), "acme");

    sluice.reconfigure(&of_directory(second.path())).await;
    assert_eq!((whose(&sluice, "one"), whose(&sluice, "two")), ("Unknown".into(), "globex".into()));
    // The new directory is the one that is watched.
    write(&second.path().join("globex.yaml"), &row("globex", "three"));
    becomes(&sluice, "three", "globex").await;
    write(&first.path().join("acme.yaml"), &row("acme", "four"));

    let list = "{ list: [{ id: acme, senders: [{ name: web, token: five }] }] }";
    sluice.reconfigure(&with(list)).await;
    assert_eq!((whose(&sluice, "five"), whose(&sluice, "three")), ("acme".into(), "Unknown".into()));
    let broken = "{ list: [{ id: acme, senders: [{ name: web }] }] }";
    assert_eq!(sluice.reload(&with(broken)).await.status, 422);
    assert_eq!(whose(&sluice, "five"), "acme");
    sluice.reconfigure(ROUTES).await;
    assert_eq!(whose(&sluice, "five"), "Unknown");
    assert!(!sluice.router().tenants().table().is_configured());
}

#[tokio::test]
async fn a_row_follows_the_exporters_of_the_configuration() {
    let rows = tempfile::tempdir().unwrap();
    let named = "id: acme\nexporters: [debug/own]\nsenders: [{ name: web, token: one }]\n";
    write(&rows.path().join("acme.yaml"), named);
    let sluice = start(&of_directory(rows.path())).await;
    assert_eq!(whose(&sluice, "one"), "Unavailable");
    sluice.reconfigure(&of_directory(rows.path()).replace("{ debug: }", "{ debug: , debug/own: }")).await;
    assert_eq!(whose(&sluice, "one"), "acme");
}

#[tokio::test]
async fn a_file_of_rows_is_read_again_by_itself_and_a_broken_one_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("tenants.yaml");
    let listed = |id: &str, token: &str| format!("- {}\n", row(id, token).trim_end().replace('\n', "\n  "));
    write(&file, &listed("acme", "one"));
    let sluice = Sluice::start(&with(&format!("{{ file: '{}' }}", file.display()))).await;
    tokio::spawn(run::reload_when_asked(sluice.router().clone(), signal(SignalKind::hangup()).unwrap()));
    assert_eq!(whose(&sluice, "one"), "acme");
    write(&file, &(listed("acme", "two") + &listed("globex", "three")));
    becomes(&sluice, "two", "acme").await;
    assert_eq!(whose(&sluice, "three"), "globex");
    write(&file, &(listed("acme", "four") + &listed("globex", "four")));
    eventually("the file is refused", async || sluice.router().report().last_error.clone()).await;
    assert_eq!((whose(&sluice, "two"), whose(&sluice, "four")), ("acme".into(), "Unknown".into()));
}

#[tokio::test]
async fn the_program_names_a_broken_row_in_its_log_and_no_secret() {
    let rows = tempfile::tempdir().unwrap();
    write(&rows.path().join("acme.yaml"), &row("acme", "s3cret-one"));
    let sluice = SluiceProcess::start(&of_directory(rows.path()), &["--log-level", "trace"]).await;
    sluice.logged("the table of tenants is in use").await;
    write(&rows.path().join("acme.yaml"), "id: acme\nsenders: [{ name: web, tokn: s3cret-two }]\n");
    let line = sluice.logged("its tenant stays as it was").await;
    assert!(
        line.contains("acme.yaml:2:24: unknown key `tokn` in `senders[0]`; did you mean `token`?"),
        "{line}"
    );
    write(&rows.path().join("globex.yaml"), &row("globex", "s3cret-one"));
    let line = sluice.logged("its senders get 503").await;
    assert!(line.contains("is also that of sender `web` of tenant `acme` (`acme.yaml`)"), "{line}");
    assert!(!sluice.says("s3cret"));
}
