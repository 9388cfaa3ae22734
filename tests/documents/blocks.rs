//! The blocks of code in the documents, and what the word behind their language says of them:
//!
//! | block | is |
//! |---|---|
//! | `sh` | commands that are run in the order of their page, and end with 0 |
//! | `sh fails` | the same, of which the last one is to end with another code |
//! | `sh stays` | the same in a terminal of its own, where the last one goes on |
//! | `yaml` | a configuration of Sluice's, a part of one, or a row of the table of tenants |
//! | `yaml KIND` | the YAML of another program: see [`KINDS`] |
//! | `json`, `ini`, `promql`, `text`, none | what is printed, or is another program's |
//!
//! In a comment of HTML, a block is for the tests alone: what a page of reference takes to be there, such as a Sluice that runs.
//! A block that follows a line which ends in a file's name and a colon, as in "write `sluice.yaml`:", is that file.

use std::fs;
use std::path::{Path, PathBuf};

/// Other programs whose YAML is shown.
pub(crate) const KINDS: [&str; 7] =
    ["collector", "github", "helm", "kustomize", "pre-commit", "prometheus", "prometheus-adapter"];

/// What is said of blocks of commands.
const MODES: [&str; 2] = ["fails", "stays"];

/// Languages whose blocks are nothing to run or to read.
const SHOWN: [&str; 5] = ["", "ini", "json", "promql", "text"];

/// A block of code.
#[derive(Debug)]
pub(crate) struct CodeBlock {
    /// Where it begins, as `docs/tap.md:12`.
    pub(crate) place: String,
    /// The first word behind the fence.
    pub(crate) language: String,
    /// The second one.
    pub(crate) word: Option<String>,
    /// The file that it is, by the line before it.
    pub(crate) file: Option<String>,
    pub(crate) text: String,
}

impl CodeBlock {
    /// What is wrong with the words behind its fence.
    pub(crate) fn mistake(&self) -> Option<String> {
        let word = self.word.as_deref();
        let known = match self.language.as_str() {
            "sh" => word.is_none_or(|word| MODES.contains(&word)),
            "yaml" => word.is_none_or(|word| KINDS.contains(&word)),
            language => SHOWN.contains(&language) && word.is_none(),
        };
        (!known).then(|| {
            format!("{}: `{} {}` is no kind of block", self.place, self.language, word.unwrap_or(""))
        })
    }
}

/// The crate's directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages: the README, and all below `docs`.
pub(crate) fn pages() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    files(&root().join("docs"), "md", &mut found);
    found.sort();
    found
}

/// The files below `directory` whose name ends in `.end`.
pub(crate) fn files(directory: &Path, end: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files(&path, end, found);
        } else if path.extension().is_some_and(|of| of == end) {
            found.push(path);
        }
    }
}

/// The blocks of a page, in its order.
pub(crate) fn blocks(page: &Path) -> Vec<CodeBlock> {
    let text = fs::read_to_string(page).expect("the page is there");
    let name = page.strip_prefix(root()).expect("it is below the crate").display();
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut before = "";
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let Some(words) = line.trim_start().strip_prefix("```") else {
            if !line.is_empty() {
                before = line;
            }
            continue;
        };
        let mut words = words.split_whitespace().map(ToOwned::to_owned);
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        blocks.push(CodeBlock {
            place: format!("{name}:{}", number + 1),
            language: words.next().unwrap_or_default(),
            word: words.next(),
            file: file_in(before),
            text: inside.flat_map(|line| [line.get(indent..).unwrap_or_default(), "\n"]).collect(),
        });
        before = "";
    }
    blocks
}

/// The file that a line names at its end, as "write `sluice.yaml`:" does.
fn file_in(line: &str) -> Option<String> {
    let (_, name) = line.strip_suffix("`:")?.rsplit_once('`')?;
    let is_file = Path::new(name).extension().is_some() && !name.contains(char::is_whitespace);
    is_file.then(|| name.to_owned())
}

#[test]
fn blocks_have_a_place_a_language_a_word_and_a_file() {
    let directory = tempfile::tempdir_in(root().join("target")).unwrap();
    let page = directory.path().join("page.md");
    fs::write(
        &page,
        "Write `a.yaml`:\n\n```yaml\na: 1\n```\n\n- A list:\n\n  ```sh stays\n  sluice\n  ```\n",
    )
    .unwrap();
    let blocks = blocks(&page);
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    assert_eq!((blocks[0].language.as_str(), blocks[0].text.as_str()), ("yaml", "a: 1\n"));
    assert_eq!(blocks[0].file.as_deref(), Some("a.yaml"));
    assert_eq!((blocks[1].word.as_deref(), blocks[1].text.as_str()), (Some("stays"), "sluice\n"));
    assert!(blocks[1].place.ends_with("page.md:9") && blocks[1].file.is_none(), "{blocks:?}");
    assert!(blocks.iter().all(|block| block.mistake().is_none()));
}
