//! What is read again, and what the table is then.

use std::os::unix::fs::symlink;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{self, ConfigSource, RowCheck, SecretPresence};
use crate::tenants::SenderLookup;

fn reader() -> RowReader {
    let compiled = config::load(&ConfigSource::Embedded, &|_| Some("x".to_owned())).unwrap();
    RowReader::new(&compiled, |_| None, SecretPresence::Needed, RowCheck::Alone)
}

fn load(path: &Path) -> TenantDirectory {
    TenantDirectory::load(path.to_owned(), TableSettings::default(), reader()).unwrap().0
}

fn token_row(id: &str, token: &str) -> String {
    format!("id: {id}\nsenders: [{{ name: web, token: \"{token}\" }}]\n")
}

fn whose(directory: &TenantDirectory, token: &str) -> String {
    match directory.table().by_token(token.as_bytes(), SystemTime::UNIX_EPOCH) {
        SenderLookup::Sender { tenant, .. } => tenant.id.to_string(),
        other => format!("{other:?}"),
    }
}

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// Waits until a file that was written just now is no longer one that may change again unseen.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[test]
fn a_directory_is_its_files_that_are_called_as_rows_are() {
    let place = tempfile::tempdir().unwrap();
    for (name, id) in
        [("a.yaml", "a"), ("b.yml", "b"), (".c.yaml", "c"), ("d.yaml~", "d"), ("e.txt", "e"), ("f", "f")]
    {
        std::fs::write(place.path().join(name), token_row(id, id)).unwrap();
    }
    let directory = load(place.path());
    let found: Vec<String> =
        ["a", "b", "c", "d", "e", "f"].iter().map(|token| whose(&directory, token)).collect();
    assert_eq!(found, ["a", "b", "Unknown", "Unknown", "Unknown", "Unknown"]);
    let missing = TenantDirectory::load(place.path().join("no"), TableSettings::default(), reader());
    assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_look_finds_what_has_changed_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name);
    for id in ["a", "b", "c"] {
        std::fs::write(file(&format!("{id}.yaml")), token_row(id, id)).unwrap();
    }
    let secret = tempfile::tempdir().unwrap();
    let named = secret.path().join("token");
    std::fs::write(&named, "d").unwrap();
    std::fs::write(file("d.yaml"), token_row("d", &format!("${{file:{}}}", named.display()))).unwrap();
    std::fs::write(file("e.yaml"), token_row("e", &format!("${{file:{}.not}}", named.display()))).unwrap();
    settled().await;
    let mut directory = load(place.path());
    assert_eq!(directory.changed().unwrap(), names(&[]));
    assert_eq!(directory.watched(), [place.path(), secret.path()].map(Arc::from).into());
    let watched_for = |name: &str| directory.watched_for(&names(&[name]));
    assert_eq!(watched_for("a.yaml"), [place.path()].map(Arc::from).into(), "of no other row's secrets");
    assert_eq!(watched_for("d.yaml"), directory.watched());

    std::fs::write(file("b.yaml"), token_row("b", "b2")).unwrap();
    assert_eq!(directory.changed().unwrap(), names(&["b.yaml"]));
    settled().await;
    directory.read(&names(&["b.yaml"]));
    assert_eq!((whose(&directory, "b"), whose(&directory, "b2")), ("Unavailable".into(), "b".into()));
    assert_eq!(directory.changed().unwrap(), names(&[]));

    std::fs::write(&named, "d2").unwrap();
    assert_eq!(directory.changed().unwrap(), names(&["d.yaml"]));
    std::fs::write(secret.path().join("token.not"), "e").unwrap();
    std::fs::rename(file("a.yaml"), file("f.yaml")).unwrap();
    let changed = directory.changed().unwrap();
    assert_eq!(changed, names(&["a.yaml", "d.yaml", "e.yaml", "f.yaml"]));
    directory.read(&changed);
    assert_eq!((whose(&directory, "d"), whose(&directory, "d2")), ("Unknown".into(), "d".into()));
    assert_eq!(whose(&directory, "e"), "e");
    assert!(directory.table().problem("f.yaml").unwrap().text.contains("is not the name of the file"));
    assert!(directory.table().tenant("a").is_none());
}

#[test]
fn a_mount_that_swaps_all_files_at_once_is_looked_through() {
    let mount = tempfile::tempdir().unwrap();
    let swap = |version: &str, token: &str| {
        let data = mount.path().join(version);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("a.yaml"), token_row("a", token)).unwrap();
        symlink(version, mount.path().join("..data_tmp")).unwrap();
        std::fs::rename(mount.path().join("..data_tmp"), mount.path().join("..data")).unwrap();
    };
    swap("..1", "one");
    symlink("..data/a.yaml", mount.path().join("a.yaml")).unwrap();
    let mut directory = load(mount.path());
    assert_eq!(whose(&directory, "one"), "a");
    swap("..2", "two");
    assert_eq!(directory.concerned(&[mount.path().join("..data")].into()), None);
    let changed = directory.changed().unwrap();
    directory.read(&changed);
    assert_eq!((whose(&directory, "one"), whose(&directory, "two")), ("Unknown".into(), "a".into()));
}

#[test]
fn a_row_whose_link_leads_nowhere_is_broken_and_keeps_what_it_had() {
    let (place, mount) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = mount.path().join("a.yaml");
    std::fs::write(&target, token_row("a", "one")).unwrap();
    for name in ["a", "late"] {
        symlink(mount.path().join(format!("{name}.yaml")), place.path().join(format!("{name}.yaml")))
            .unwrap();
    }
    let mut directory = load(place.path());
    assert_eq!((whose(&directory, "one"), whose(&directory, "two")), ("a".into(), "Unavailable".into()));
    let problem = &directory.table().problem("late.yaml").unwrap().text;
    assert!(problem.contains("it is a link that leads nowhere"), "{problem}");

    std::fs::remove_file(&target).unwrap();
    let changed = directory.changed().unwrap();
    assert!(changed.contains("a.yaml") && !changed.contains("late.yaml"), "{changed:?}");
    let read = directory.read(&changed);
    assert_eq!((read.applied.broken, read.problems.len()), (vec!["a.yaml".into()], 1));
    assert_eq!(whose(&directory, "one"), "a", "it keeps what it had");
    assert_eq!(directory.changed().unwrap(), names(&[]));

    std::fs::write(mount.path().join("late.yaml"), token_row("late", "two")).unwrap();
    directory.read(&directory.changed().unwrap());
    assert_eq!(whose(&directory, "two"), "late");
    std::fs::remove_file(place.path().join("a.yaml")).unwrap();
    directory.read(&directory.changed().unwrap());
    assert_eq!(whose(&directory, "one"), "Unknown", "a link that is removed is a row that is gone");
}

#[test]
fn another_configuration_has_rows_read_that_name_exporters_or_were_broken() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("a.yaml"), "id: a\nexporters: [debug/new]\n").unwrap();
    std::fs::write(place.path().join("b.yaml"), "id: b\n").unwrap();
    let directory = load(place.path());
    assert!(directory.table().problem("a.yaml").unwrap().text.contains("there is no exporter `debug/new`"));
    let config = place.path().join("sluice.conf");
    let with = |exporters: &str| {
        let yaml = format!(
            "receivers: {{ otlp: {{ protocols: {{ http: }} }} }}\nexporters: {{ {exporters} }}\nroutes: [{{ exporters: [debug] }}]\n"
        );
        std::fs::write(&config, yaml).unwrap();
        let compiled = config::load(&ConfigSource::File(config.clone()), &|_| None).unwrap();
        RowReader::new(&compiled, |_| None, SecretPresence::Needed, RowCheck::Alone)
    };
    let (new, read) = directory.with(TableSettings::default(), with("debug: , debug/new: "));
    assert_eq!(read.applied.repaired, ["a.yaml".into()]);
    assert!(new.table().problem("a.yaml").is_none() && directory.table().problem("a.yaml").is_some());
    let (gone, _) = new.with(TableSettings::default(), with("debug: "));
    assert!(
        gone.table().problem("a.yaml").is_some() && gone.table().is_tenant("a.yaml"),
        "it keeps what it had"
    );
}

/// What is done to files. Names of rows and of secrets, and tokens, are numbers.
#[derive(Clone, Debug)]
enum Change {
    Row {
        file: u8,
        token: u8,
    },
    /// Its token is in a file.
    Naming {
        file: u8,
        secret: u8,
    },
    /// In `.yml` beside `.yaml`: the same id.
    SameId {
        file: u8,
        token: u8,
    },
    Broken {
        file: u8,
    },
    Removed {
        file: u8,
    },
    Renamed {
        from: u8,
        to: u8,
    },
    Secret {
        secret: u8,
        token: u8,
    },
    NoSecret {
        secret: u8,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let (file, token, secret) = (0..4_u8, 0..5_u8, 0..2_u8);
    prop_oneof![
        3 => (file.clone(), token.clone()).prop_map(|(file, token)| Change::Row { file, token }),
        2 => (file.clone(), secret.clone()).prop_map(|(file, secret)| Change::Naming { file, secret }),
        1 => (file.clone(), token.clone()).prop_map(|(file, token)| Change::SameId { file, token }),
        1 => file.clone().prop_map(|file| Change::Broken { file }),
        1 => file.clone().prop_map(|file| Change::Removed { file }),
        1 => (file.clone(), file).prop_map(|(from, to)| Change::Renamed { from, to }),
        2 => (secret.clone(), token).prop_map(|(secret, token)| Change::Secret { secret, token }),
        1 => secret.prop_map(|secret| Change::NoSecret { secret }),
    ]
}

impl Change {
    /// Does it below `place`, and returns the files that have changed by it.
    fn take_place(&self, place: &Path) -> Vec<PathBuf> {
        let row = |file: &u8| place.join(format!("rows/t{file}.yaml"));
        let secret = |number: &u8| place.join(format!("secrets/{number}"));
        let write = |path: PathBuf, text: &str| {
            std::fs::write(&path, text).unwrap();
            vec![path]
        };
        match self {
            Self::Row { file, token } => {
                write(row(file), &token_row(&format!("t{file}"), &format!("token-{token}")))
            }
            Self::Naming { file, secret: number } => {
                let token = format!("${{file:{}}}", secret(number).display());
                write(row(file), &token_row(&format!("t{file}"), &token))
            }
            Self::SameId { file, token } => {
                let path = row(file).with_extension("yml");
                write(path, &token_row(&format!("t{file}"), &format!("token-{token}")))
            }
            Self::Broken { file } => write(row(file), "id: [\n"),
            Self::Removed { file } => {
                let paths = vec![row(file), row(file).with_extension("yml")];
                for path in &paths {
                    let _ = std::fs::remove_file(path);
                }
                paths
            }
            Self::Renamed { from, to } => {
                let _ = std::fs::rename(row(from), row(to));
                vec![row(from), row(to)]
            }
            Self::Secret { secret: number, token } => write(secret(number), &format!("token-{token}\n")),
            Self::NoSecret { secret: number } => {
                let _ = std::fs::remove_file(secret(number));
                vec![secret(number)]
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn reading_what_a_change_concerns_leads_to_the_table_that_reading_everything_does(
        batches in proptest::collection::vec(proptest::collection::vec(change(), 1..4), 1..12)
    ) {
        let place = tempfile::tempdir().unwrap();
        let rows = place.path().join("rows");
        std::fs::create_dir(&rows).unwrap();
        std::fs::create_dir(place.path().join("secrets")).unwrap();
        let (mut directory, mut thorough) = (load(&rows), load(&rows));
        for batch in batches {
            let files: HashSet<PathBuf> = batch.iter().flat_map(|change| change.take_place(place.path())).collect();
            let concerned = directory.concerned(&files).expect("all is plain files");
            directory.read(&concerned);
            let all = row_names(&rows).unwrap().into_iter().chain(thorough.rows.keys().cloned()).collect();
            thorough.read(&all);
            for token in 0..5 {
                let token = format!("token-{token}");
                prop_assert_eq!(whose(&directory, &token), whose(&thorough, &token), "{}", token);
            }
            let problems = |directory: &TenantDirectory| -> Vec<(Arc<str>, String)> {
                directory.table().problems().map(|(place, _, problem)| (place.clone(), problem.text.clone())).collect()
            };
            prop_assert_eq!(problems(&directory), problems(&thorough));
            let known: BTreeSet<Arc<str>> = directory.rows.keys().cloned().collect();
            prop_assert_eq!(known, row_names(&rows).unwrap());
        }
    }
}
