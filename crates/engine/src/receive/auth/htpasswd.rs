//! `basicauth` of a receiver: whoever has the password of one of its users may send.
//!
//! bcrypt is made to take long, tens of milliseconds and more. It is computed aside from the runtime's workers, for a few
//! requests at a time, and once for each user: a password that has been right is known by its hash from then on. So somebody who
//! guesses passwords takes no more than some processor time, and nothing from senders that are known already. Nor does it tell by
//! the time that it takes whose names are in the file: beside users with bcrypt, whatever is wrong takes as long, if all of them
//! have one cost.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, digest};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::panics::blocking_as_here;
use crate::secret_hash::SecretHash;

/// The highest cost of bcrypt that is taken, which is the highest that `htpasswd` makes: some ten seconds.
const HIGHEST_COST: u32 = 17;

/// The most requests that wait for their turn to have a password verified; further ones are asked to retry.
const WAITING: usize = 1024;

/// The places of the process. Half of the processors are left to senders whose passwords are verified already.
static PLACES: LazyLock<VerifyingPlaces> = LazyLock::new(|| {
    VerifyingPlaces::new(
        std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2)),
    )
});

/// Limits how many passwords are verified at a time, and how many requests wait for that.
struct VerifyingPlaces {
    to_wait: Semaphore,
    to_compute: Semaphore,
}

impl VerifyingPlaces {
    const fn new(at_a_time: usize) -> Self {
        Self { to_wait: Semaphore::const_new(WAITING), to_compute: Semaphore::const_new(at_a_time) }
    }

    /// Waits for a turn to compute. `None`: too many wait.
    async fn turn(&'static self) -> Option<Turn> {
        let waiting = self.to_wait.try_acquire().ok()?;
        Some((waiting, self.to_compute.acquire().await.ok()?))
    }
}

/// Users and their passwords.
#[derive(Default, PartialEq, Eq)]
pub struct HtpasswdUsers {
    users: HashMap<Box<[u8]>, HtpasswdUser>,
    /// The hash that is computed for a wrong answer that needs no bcrypt, where there is a user with bcrypt.
    stand_in: Option<StandInHash>,
}

/// A hash that no user has, of the highest cost among the users' hashes.
#[derive(PartialEq, Eq)]
struct StandInHash {
    hash: String,
}

struct HtpasswdUser {
    password: Password,
    /// The fast hash of the password that bcrypt verified last.
    verified: Mutex<Option<SecretHash>>,
}

/// A password, as a line of `htpasswd` has it.
#[derive(Clone, PartialEq, Eq)]
enum Password {
    /// A password in plain text.
    Plain(SecretHash),
    /// `{SHA}` and `{SSHA}`: the SHA-1 of the password and a salt, which may be empty.
    Sha1 { digest: SecretHash, salt: Vec<u8> },
    /// `$2y$` and the like.
    Bcrypt { hash: Box<str>, cost: u32 },
}

/// The result of verifying a user's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// The password is the user's.
    Right,
    /// There is no such user, or the password is another.
    Wrong,
    /// Too many requests wait for a verification.
    Busy,
}

/// A line that is not in the format of `htpasswd`. Its text, which may be secret, is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongLine {
    /// The number of the line, from 1.
    pub line: usize,
    /// The reason why it can't be used.
    pub why: &'static str,
}

impl HtpasswdUsers {
    /// Adds the users of a text of `USER:PASSWORD` lines; they replace those of the same name.
    pub fn add(&mut self, text: &str) -> Result<(), WrongLine> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why| WrongLine { line: index + 1, why };
            let (user, password) = line.split_once(':').ok_or_else(|| wrong("there is no colon in it"))?;
            if user.is_empty() {
                return Err(wrong("there is no user before the colon"));
            }
            let password = Password::read(password).map_err(wrong)?;
            self.users.insert(user.as_bytes().into(), HtpasswdUser { password, verified: Mutex::default() });
        }
        self.stand_in = self.users.values().filter_map(HtpasswdUser::cost).max().map(StandInHash::new);
        Ok(())
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether the password is that of the user.
    pub(super) async fn verify(&self, username: &[u8], password: &[u8]) -> Verified {
        self.verify_at(&PLACES, username, password).await
    }

    async fn verify_at(
        &self,
        places: &'static VerifyingPlaces,
        username: &[u8],
        password: &[u8],
    ) -> Verified {
        let hash = SecretHash::of(&[password]);
        let right = match self.users.get(username) {
            None => false,
            Some(user) => match &user.password {
                Password::Plain(expected) => *expected == hash,
                Password::Sha1 { digest, salt } => *digest == SecretHash::of(&[&sha1(password, salt)]),
                Password::Bcrypt { .. } if user.knows(&hash) => true,
                Password::Bcrypt { hash: expected, .. } => {
                    return user.verify_slowly(places, expected, password, hash).await;
                }
            },
        };
        match &self.stand_in {
            _ if right => Verified::Right,
            None => Verified::Wrong,
            Some(stand_in) => stand_in.refuse_slowly(places, password).await,
        }
    }
}

impl StandInHash {
    fn new(cost: u32) -> Self {
        Self { hash: format!("$2y${cost:02}$abcdefghijklmnopqrstuuTT7iqkdhhYg7DR4tI.mGOfXYlGKgIf6") }
    }

    /// Takes as long as it takes to find out that the password of a user is another, and as many places.
    async fn refuse_slowly(&self, places: &'static VerifyingPlaces, password: &[u8]) -> Verified {
        let Some(turn) = places.turn().await else { return Verified::Busy };
        compute(turn, &self.hash, password).await;
        Verified::Wrong
    }
}

/// Places to wait and to compute, which are taken until they are dropped.
type Turn = (SemaphorePermit<'static>, SemaphorePermit<'static>);

/// Computes whether the password has this hash.
async fn compute(turn: Turn, hash: &str, password: &[u8]) -> bool {
    let (hash, password) = (hash.to_owned(), password.to_owned());
    blocking_as_here(move || {
        // Kept until it ends: it goes on when the request that has asked for it is gone.
        let _turn = turn;
        bcrypt::verify(&password, &hash).unwrap_or(false)
    })
    .await
}

impl HtpasswdUser {
    /// The cost of the user's bcrypt hash, if the password is hashed by bcrypt.
    fn cost(&self) -> Option<u32> {
        match &self.password {
            Password::Bcrypt { cost, .. } => Some(*cost),
            Password::Plain(_) | Password::Sha1 { .. } => None,
        }
    }

    fn knows(&self, hash: &SecretHash) -> bool {
        self.verified.lock().as_ref() == Some(hash)
    }

    async fn verify_slowly(
        &self,
        places: &'static VerifyingPlaces,
        expected: &str,
        password: &[u8],
        hash: SecretHash,
    ) -> Verified {
        let Some(turn) = places.turn().await else { return Verified::Busy };
        // Another request with the same password may have had its turn meanwhile.
        if self.knows(&hash) {
            return Verified::Right;
        }
        if !compute(turn, expected, password).await {
            return Verified::Wrong;
        }
        *self.verified.lock() = Some(hash);
        Verified::Right
    }
}

impl Password {
    fn read(text: &str) -> Result<Self, &'static str> {
        if let Some(digest) = text.strip_prefix("{SHA}") {
            return Self::sha1(digest, 0);
        }
        if let Some(digest) = text.strip_prefix("{SSHA}") {
            return Self::sha1(digest, usize::MAX);
        }
        if ["$2y$", "$2a$", "$2b$", "$2x$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| "its bcrypt hash is not whole")?;
            let cost = parts.get_cost();
            if cost > HIGHEST_COST {
                return Err("the cost of its bcrypt hash is above 17");
            }
            return Ok(Self::Bcrypt { hash: text.into(), cost });
        }
        if text.starts_with('$') {
            return Err(
                "its password is hashed by MD5 or another way that is not taken (`htpasswd -B` hashes by bcrypt)",
            );
        }
        if text.is_empty() {
            return Err("there is no password behind the colon");
        }
        Ok(Self::Plain(SecretHash::of(&[text.as_bytes()])))
    }

    /// A digest in base64, with a salt of at most so many bytes behind it.
    fn sha1(text: &str, most: usize) -> Result<Self, &'static str> {
        let bytes = BASE64.decode(text).ok();
        let split = bytes.as_deref().and_then(<[u8]>::split_first_chunk::<SHA1_OUTPUT_LEN>);
        match split {
            Some((digest, salt)) if salt.len() <= most => {
                Ok(Self::Sha1 { digest: SecretHash::of(&[digest]), salt: salt.into() })
            }
            _ => Err("its SHA-1 hash is not whole"),
        }
    }
}

fn sha1(password: &[u8], salt: &[u8]) -> [u8; SHA1_OUTPUT_LEN] {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[password, salt].concat());
    digest.as_ref().try_into().expect("a SHA-1 has 20 bytes")
}

/// Compares the configured passwords; what has been verified is no part of them.
impl PartialEq for HtpasswdUser {
    fn eq(&self, other: &Self) -> bool {
        self.password == other.password
    }
}

impl Eq for HtpasswdUser {}

impl fmt::Debug for HtpasswdUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HtpasswdUsers([{} users redacted])", self.users.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> HtpasswdUsers {
        let mut htpasswd = HtpasswdUsers::default();
        htpasswd.add(lines).unwrap();
        htpasswd
    }

    async fn is_right(htpasswd: &HtpasswdUsers, user: &str, password: &str) -> bool {
        htpasswd.verify(user.as_bytes(), password.as_bytes()).await == Verified::Right
    }

    #[tokio::test]
    async fn passwords_are_taken_in_each_form_that_a_file_may_have_them_in() {
        let bcrypt = bcrypt::hash_with_result("s3cret", 4).unwrap();
        let salted = BASE64.encode([&sha1(b"s3cret", b"salt")[..], b"salt"].concat());
        let htpasswd = of(&format!(
            "# who may send\n\nbcrypt:{}\nb:{}\nsha:{{SHA}}{}\nssha:{{SSHA}}{salted}\nplain:s3cret\n colon:a:b \n",
            bcrypt.format_for_version(bcrypt::Version::TwoY),
            bcrypt.format_for_version(bcrypt::Version::TwoB),
            BASE64.encode(sha1(b"s3cret", b"")),
        ));
        for user in ["bcrypt", "b", "sha", "ssha", "plain"] {
            assert!(is_right(&htpasswd, user, "s3cret").await, "{user}");
            for wrong in ["", "s3cre", "s3cret ", "S3cret", "s3crets"] {
                assert!(!is_right(&htpasswd, user, wrong).await, "{user} {wrong}");
            }
        }
        assert!(is_right(&htpasswd, "colon", "a:b").await);
        assert!(!is_right(&htpasswd, "nobody", "s3cret").await);
    }

    #[tokio::test]
    async fn a_password_that_was_right_is_known_from_then_on_and_a_wrong_one_is_not() {
        let htpasswd = of(&format!("acme:{}", bcrypt::hash("s3cret", 4).unwrap()));
        let user = &htpasswd.users[&b"acme"[..]];
        assert!(!is_right(&htpasswd, "acme", "wrong").await);
        assert!(!user.knows(&SecretHash::of(&[b"wrong"])));
        assert!(is_right(&htpasswd, "acme", "s3cret").await);
        assert!(user.knows(&SecretHash::of(&[b"s3cret"])));
        assert!(!is_right(&htpasswd, "acme", "wrong").await);
        assert!(user.knows(&SecretHash::of(&[b"s3cret"])), "a wrong one takes nothing from the right one");
    }

    #[tokio::test]
    async fn a_computation_keeps_its_places_when_the_request_that_has_asked_for_it_is_gone() {
        let places: &VerifyingPlaces = Box::leak(Box::new(VerifyingPlaces::new(1)));
        // Tens of milliseconds and more.
        let expected = bcrypt::hash("s3cret", 10).unwrap();
        let htpasswd = of(&format!("acme:{expected}"));
        let user = &htpasswd.users[&b"acme"[..]];
        let verifying = user.verify_slowly(places, &expected, b"s3cret", SecretHash::of(&[b"s3cret"]));
        tokio::select! {
            biased;
            _ = verifying => panic!("it takes longer than to ask once"),
            () = std::future::ready(()) => {}
        }
        let free = || (places.to_wait.available_permits(), places.to_compute.available_permits());
        assert_eq!(free(), (WAITING - 1, 0));
        // The next one has its turn, once the first has ended.
        drop(places.to_compute.acquire().await.unwrap());
        assert_eq!(free(), (WAITING, 1));
    }

    #[tokio::test]
    async fn an_unknown_user_is_refused_after_as_much_work_as_a_known_one_with_a_wrong_password() {
        let places: &VerifyingPlaces = Box::leak(Box::new(VerifyingPlaces::new(1)));
        let [cheap, dear] = [4, 6].map(|cost| bcrypt::hash("s3cret", cost).unwrap());
        let htpasswd = of(&format!("cheap:{cheap}\nacme:{dear}\nplain:s3cret"));
        let stand_in = &htpasswd.stand_in.as_ref().unwrap().hash;
        assert_eq!(stand_in.parse::<bcrypt::HashParts>().unwrap().get_cost(), 6);
        assert_eq!(bcrypt::verify("s3cret", stand_in).ok(), Some(false), "it is computed");
        for user in ["acme", "nobody", "plain", ""] {
            let verifying = htpasswd.verify_at(places, user.as_bytes(), b"wrong");
            tokio::pin!(verifying);
            tokio::select! {
                biased;
                _ = &mut verifying => panic!("{user}: it is answered without bcrypt"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(places.to_compute.available_permits(), 0, "{user}");
            assert_eq!(verifying.await, Verified::Wrong, "{user}");
        }
        let _all = places.to_wait.acquire_many(WAITING as u32).await.unwrap();
        for user in ["acme", "nobody"] {
            assert_eq!(htpasswd.verify_at(places, user.as_bytes(), b"wrong").await, Verified::Busy, "{user}");
        }
        assert!(of("plain:s3cret").stand_in.is_none(), "without bcrypt nothing takes long");
    }

    #[test]
    fn a_line_that_can_not_be_used_is_named_by_its_number_and_not_shown() {
        for (line, why) in [
            ("s3cret", "no colon"),
            (":s3cret", "no user"),
            ("a:", "no password"),
            ("a:$2y$10$s3cret", "not whole"),
            ("a:$2y$31$abcdefghijklmnopqrstuuTT7iqkdhhYg7DR4tI.mGOfXYlGKgIf6", "above 17"),
            ("a:$apr1$s3cret$Vv9WmiTZl8YlW7gIv5MCl.", "MD5"),
            ("a:{SHA}s3cret", "SHA-1"),
            ("a:{SHA}c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0", "SHA-1"),
        ] {
            let wrong = HtpasswdUsers::default().add(&format!("b:ok\n{line}\n")).unwrap_err();
            assert_eq!(wrong.line, 2);
            assert!(wrong.why.contains(why) && !wrong.why.contains("s3cret"), "{line}: {}", wrong.why);
        }
        assert!(!format!("{:?}", of("acme:s3cret")).contains("s3cret"));
    }

    #[test]
    fn a_later_line_replaces_that_of_the_same_user() {
        let mut htpasswd = of("acme:old\n");
        htpasswd.add("acme:new\n").unwrap();
        assert!(htpasswd == of("acme:new"));
    }
}
