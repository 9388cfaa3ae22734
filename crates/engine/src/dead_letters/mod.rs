//! Dead letters: what no upstream will take, kept on disk for people to look at and for `sluice replay`.
//!
//! A letter is two files: `<UTC time>-<sequence>.<signal>.pb`, the OTLP bytes of an
//! `Export<Signal>ServiceRequest`, and the same with `.json`, which says what they are and why they are here. What was
//! cut out of a request in OTLP/JSON can't be said in protobuf: it is in a `.jsonl` instead, a request on each line.
//! Both are written under a temporary name and renamed, the bytes first: a letter is there when its `.json` is,
//! so a process that is killed leaves no half letter. With a journal letters are synced, since an entry leaves it when
//! its letter is stored; otherwise nothing is: after a power cut a reader tells a letter whose bytes are missing by the
//! length in its `.json`.
//!
//! Letters sort by name in the order of their [places](DeadLetterPlace), which is that in which they are to be sent again. A letter
//! that is [divided](StoredDeadLetter::divide) leaves its place to what it is divided into.

mod contents;
mod directory;
mod files;
mod filter;
mod letter;
mod list;
mod lock;
mod stored;
mod turns;
mod walk;

pub use self::contents::{DeadLetterContents, DeadLetterFault};
pub use self::directory::{DeadLetterSettings, DeadLetters, StoreError};
pub use self::filter::{ConditionError, DeadLetterFilter};
pub use self::letter::{DeadLetter, DeadLetterOrigin, DeadLetterPlace};
pub use self::list::{DeadLetterPage, FoundDeadLetters, ListedDeadLetter, letters};
pub use self::lock::DeadLettersLock;
pub use self::stored::{DeadLetterPart, StoredDeadLetter};
pub use self::turns::DeadLetterTurn;
pub use self::walk::{DeadLetterSelection, DeadLetterWalk, WalkedDeadLetters};
