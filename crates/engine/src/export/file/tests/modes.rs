//! Who may read and write what an exporter makes.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn transport_with(mode: u32, path: &Path, max_file_size: u64) -> FileTransport {
    FileTransport::new(&FileSettings { path: path.into(), mode, max_file_size, max_backups: 0 })
}

/// The permissions below `root`, in octal.
fn permissions<const N: usize>(root: &Path, names: [&str; N]) -> [String; N] {
    names.map(|name| format!("{:04o}", fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777))
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn files_and_directories_have_the_mode_that_is_set_whatever_the_umask() {
    const CASES: [(u32, &str, &str); 5] = [
        (0o600, "0700", "0600"),
        (0o640, "0750", "0640"),
        (0o644, "0755", "0644"),
        (0o660, "0770", "0660"),
        (0o666, "0777", "0666"),
    ];
    if let Some(root) = directory_of_this_process() {
        for (mode, _, file) in CASES {
            must_write(&transport_with(mode, &root.join(file).join("data"), 1 << 20), "k").await;
        }
        return;
    }
    for umask in ["000", "022", "077", "777"] {
        let root = TempDir::new().unwrap();
        let test = "modes::files_and_directories_have_the_mode_that_is_set_whatever_the_umask";
        process_of(test, &format!("umask {umask}"), root.path());
        for (_, directory, file) in CASES {
            let names = ["", "data", "data/k", "data/k/logs.jsonl"];
            let expected = [directory, directory, directory, file];
            assert_eq!(permissions(&root.path().join(file), names), expected, "{umask}");
        }
    }
}

#[tokio::test]
async fn what_is_there_keeps_its_mode_and_a_new_mode_is_for_new_files() {
    let root = TempDir::new().unwrap();
    let path = root.path();
    set(path, 0o755);
    must_write(&transport_with(0o600, path, 1 << 20), "a").await;
    // As after a reload.
    let transport = transport_with(0o640, path, 1 << 20);
    must_write(&transport, "a").await;
    must_write(&transport, "b").await;
    let names = ["", "a", "a/logs.jsonl", "b", "b/logs.jsonl"];
    assert_eq!(permissions(path, names), ["0755", "0700", "0600", "0750", "0640"]);

    // What people have changed stays as well, and is no reason not to go on.
    set(&path.join("b/logs.jsonl"), 0o666);
    must_write(&transport, "b").await;
    must_write(&transport_with(0o640, path, 1 << 20), "b").await;
    assert_eq!(permissions(path, ["b/logs.jsonl"]), ["0666"]);
    assert_eq!(lines(path.join("b/logs.jsonl")), 3);
}

#[tokio::test]
async fn a_file_that_follows_a_rotated_or_removed_one_has_the_mode_that_is_set() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("k");
    must_write(&transport_with(0o644, root.path(), 1), "k").await;
    let transport = transport_with(0o600, root.path(), 1);
    must_write(&transport, "k").await;
    let [backup, current] = names(directory.clone()).try_into().unwrap();
    assert_eq!(permissions(&directory, [&backup, &current]), ["0644", "0600"]);

    set(&directory.join(&current), 0o644);
    fs::remove_file(directory.join(&current)).unwrap();
    must_write(&transport, "k").await;
    assert_eq!(permissions(&directory, [&current]), ["0600"]);
}

#[tokio::test]
async fn what_a_directory_hands_down_to_those_made_in_it_stays() {
    let root = TempDir::new().unwrap();
    // New files and directories belong to this one's group.
    set(root.path(), 0o2755);
    must_write(&transport_with(0o660, root.path(), 1 << 20), "k").await;
    assert_eq!(permissions(root.path(), ["k", "k/logs.jsonl"]), ["2770", "0660"]);
}
