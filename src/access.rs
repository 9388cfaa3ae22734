//! Who may read and who may change something through the admin listener.
//!
//! On loopback everybody may read, except records, which need the read token there, too, unless taps are open. Elsewhere a read needs
//! the read token, the write token, or a client certificate that the listener's TLS has verified. A change needs the write token on
//! every listener; where no write token is configured, a client certificate stands in for it, and on loopback a reload needs neither,
//! since it takes nothing from its request.
//!
//! Tokens are kept as SHA-256 hashes, which are compared in constant time, so that neither memory nor the time of an answer reveals
//! them.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::secret_hash::SecretHash;

/// The action of a request to the admin listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// Read state.
    Read,
    /// Read records.
    Tap,
    /// Reload the configuration from its file, or say what that would do; the request has no part of it.
    Reload,
    /// Make a change that the request describes, or say what one would do.
    Write,
}

/// The listener by which a request has come in, as far as it matters for permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminEntrance {
    /// The listener's address is on loopback.
    pub loopback: bool,
    /// The listener verifies client certificates, and closes connections without one.
    pub certificates: bool,
}

/// The credential by which a request is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminCredential {
    /// None: the action is allowed to everybody on this listener.
    Nothing,
    /// The client certificate of its connection.
    Certificate,
    /// A read token.
    ReadToken,
    /// A write token.
    WriteToken,
}

/// The tokens of the admin listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminTokens {
    read: Vec<SecretHash>,
    write: Vec<SecretHash>,
    /// Without any token, everybody may read, whatever the listener's address.
    insecure: bool,
    /// Whoever may read state may read records, too.
    open_taps: bool,
}

/// Why a request to the admin listener is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRefusal {
    /// The request is addressed to a name that is not the listener's.
    ForeignName,
    /// A page of another site has sent the request.
    ForeignPage,
    /// The request has no token.
    NoToken,
    /// The token is not one of the configured ones.
    WrongToken,
    /// The action is a change, and the token may only read.
    ReadToken,
    /// The action is a change, and no write token is configured.
    NoWriteToken,
    /// The action reads records, and no read token is configured.
    NoReadToken,
}

/// The tokens in use, and how many requests were refused so far.
#[derive(Debug, Default)]
pub struct AdminAccess {
    tokens: ArcSwap<AdminTokens>,
    refused: [AtomicU64; AdminRefusal::ALL.len()],
}

impl AdminTokens {
    /// The tokens with these hashes; without any, `insecure` lets everybody read, whatever the listener's address.
    pub fn new(read: Vec<SecretHash>, write: Vec<SecretHash>, insecure: bool) -> Self {
        Self { read, write, insecure, open_taps: false }
    }

    /// These tokens, with `open` as the rule whether whoever may read state may read records, too.
    #[must_use]
    pub fn with_open_taps(self, open_taps: bool) -> Self {
        Self { open_taps, ..self }
    }

    /// Whether no token is configured.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.write.is_empty()
    }

    /// Whether a token is configured for reading and for writing, which would let everybody write who may read.
    pub fn are_mixed_up(&self) -> bool {
        self.read.iter().any(|token| token.is_one_of(&self.write))
    }

    /// The credential by which a request with this token's hash is allowed.
    fn check(
        &self,
        action: AdminAction,
        entrance: AdminEntrance,
        token: Option<SecretHash>,
    ) -> Result<AdminCredential, AdminRefusal> {
        let is = |tokens: &[SecretHash]| token.is_some_and(|token| token.is_one_of(tokens));
        let (reads, writes) = (is(&self.read), is(&self.write));
        let missing = if token.is_some() { AdminRefusal::WrongToken } else { AdminRefusal::NoToken };
        match action {
            _ if writes => Ok(AdminCredential::WriteToken),
            AdminAction::Read | AdminAction::Tap if reads => Ok(AdminCredential::ReadToken),
            AdminAction::Read | AdminAction::Tap if entrance.certificates => Ok(AdminCredential::Certificate),
            AdminAction::Tap if !self.open_taps && self.is_empty() => Err(AdminRefusal::NoReadToken),
            AdminAction::Tap if !self.open_taps => Err(missing),
            AdminAction::Read | AdminAction::Tap => {
                let open = entrance.loopback || (self.is_empty() && self.insecure);
                if open { Ok(AdminCredential::Nothing) } else { Err(missing) }
            }
            AdminAction::Reload | AdminAction::Write if self.write.is_empty() => {
                if entrance.certificates {
                    Ok(AdminCredential::Certificate)
                } else if action == AdminAction::Reload && entrance.loopback {
                    Ok(AdminCredential::Nothing)
                } else {
                    Err(AdminRefusal::NoWriteToken)
                }
            }
            AdminAction::Reload | AdminAction::Write if reads => Err(AdminRefusal::ReadToken),
            AdminAction::Reload | AdminAction::Write => Err(missing),
        }
    }
}

impl AdminCredential {
    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Certificate => "certificate",
            Self::ReadToken => "read_token",
            Self::WriteToken => "write_token",
        }
    }
}

impl AdminRefusal {
    /// Every refusal.
    pub const ALL: [Self; 7] = [
        Self::ForeignName,
        Self::ForeignPage,
        Self::NoToken,
        Self::WrongToken,
        Self::ReadToken,
        Self::NoWriteToken,
        Self::NoReadToken,
    ];

    /// The `cause` label of `sluice_admin_refused_requests_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForeignName => "foreign_name",
            Self::ForeignPage => "foreign_page",
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::ReadToken => "read_token",
            Self::NoWriteToken => "no_write_token",
            Self::NoReadToken => "no_read_token",
        }
    }

    /// The message to the sender of the request.
    pub const fn message(self) -> &'static str {
        match self {
            Self::ForeignName => {
                "this listener is not known by the name in `Host`: use its address or localhost, or write the name in `admin.hosts`"
            }
            Self::ForeignPage => "pages of other sites are not answered",
            Self::NoToken => "this page needs a token: send `Authorization: Bearer TOKEN`",
            Self::WrongToken => "this token is not the one that is configured in `admin` for this page",
            Self::ReadToken => "this token may read alone: a change needs that of `admin.write_token`",
            Self::NoWriteToken => "nobody may change anything here: set `admin.write_token` to allow it",
            Self::NoReadToken => {
                "nobody may see records here: set `admin.read_token`, or `tap: { open: true }` for whoever may read"
            }
        }
    }
}

impl AdminAccess {
    /// Replaces the tokens; the former ones are no longer valid. Returns whether they differ.
    pub fn set(&self, tokens: AdminTokens) -> bool {
        let differ = **self.tokens.load() != tokens;
        self.tokens.store(tokens.into());
        differ
    }

    /// The credential by which a request that has come in by `entrance` with this bearer token is allowed.
    ///
    /// # Errors
    ///
    /// Why it is not allowed. The refusal is not counted yet.
    pub fn check(
        &self,
        action: AdminAction,
        entrance: AdminEntrance,
        token: Option<&[u8]>,
    ) -> Result<AdminCredential, AdminRefusal> {
        self.check_hash(action, entrance, token.map(|token| SecretHash::of(&[token])))
    }

    /// As [`AdminAccess::check`], by the hash of the token, for a request that is answered over a longer time.
    ///
    /// # Errors
    ///
    /// Why it is not allowed, or not any more. The refusal is not counted yet.
    pub fn check_hash(
        &self,
        action: AdminAction,
        entrance: AdminEntrance,
        token: Option<SecretHash>,
    ) -> Result<AdminCredential, AdminRefusal> {
        self.tokens.load().check(action, entrance, token)
    }

    /// Counts a request that was refused.
    pub fn count(&self, refusal: AdminRefusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of requests that were refused for this reason.
    pub fn refused(&self, refusal: AdminRefusal) -> u64 {
        self.refused[refusal as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: AdminEntrance = AdminEntrance { loopback: true, certificates: false };
    const OUTSIDE: AdminEntrance = AdminEntrance { loopback: false, certificates: false };
    const CERTIFIED: AdminEntrance = AdminEntrance { loopback: false, certificates: true };
    const ACTIONS: [AdminAction; 3] = [AdminAction::Read, AdminAction::Reload, AdminAction::Write];

    fn hash(token: &str) -> SecretHash {
        SecretHash::of(&[token.as_bytes()])
    }

    fn tokens(read: &[&str], write: &[&str]) -> AdminTokens {
        let hashed = |tokens: &[&str]| tokens.iter().copied().map(hash).collect();
        AdminTokens::new(hashed(read), hashed(write), false)
    }

    /// What comes of a read, a reload and a write.
    fn all(
        tokens: &AdminTokens,
        entrance: AdminEntrance,
        token: Option<&str>,
    ) -> [Result<(), AdminRefusal>; 3] {
        ACTIONS.map(|action| tokens.check(action, entrance, token.map(hash)).map(drop))
    }

    #[test]
    fn it_is_told_by_what_a_request_may_do_what_it_wants() {
        use AdminCredential::{Certificate, Nothing, ReadToken, WriteToken};
        let by = |tokens: &AdminTokens, entrance, token: Option<&str>| {
            ACTIONS.map(|action| tokens.check(action, entrance, token.map(hash)).ok())
        };
        let both = tokens(&["reader"], &["writer"]);
        assert_eq!(by(&both, LOOPBACK, None), [Some(Nothing), None, None]);
        assert_eq!(by(&both, CERTIFIED, Some("reader")), [Some(ReadToken), None, None]);
        assert_eq!(by(&both, CERTIFIED, Some("writer")), [Some(WriteToken); 3]);
        assert_eq!(by(&tokens(&[], &[]), CERTIFIED, Some("other")), [Some(Certificate); 3]);
        assert_eq!(by(&tokens(&[], &[]), LOOPBACK, None), [Some(Nothing), Some(Nothing), None]);
    }

    #[test]
    fn a_change_needs_the_write_token_and_a_read_off_loopback_any() {
        use AdminRefusal::{NoToken, ReadToken, WrongToken};
        let both = tokens(&["reader"], &["writer"]);
        assert_eq!(all(&both, LOOPBACK, None), [Ok(()), Err(NoToken), Err(NoToken)]);
        assert_eq!(all(&both, LOOPBACK, Some("reader")), [Ok(()), Err(ReadToken), Err(ReadToken)]);
        assert_eq!(all(&both, LOOPBACK, Some("other")), [Ok(()), Err(WrongToken), Err(WrongToken)]);
        assert_eq!(all(&both, OUTSIDE, None), [Err(NoToken); 3]);
        assert_eq!(all(&both, OUTSIDE, Some("reader")), [Ok(()), Err(ReadToken), Err(ReadToken)]);
        for wrong in ["", "write", "writer ", "writerr", "WRITER"] {
            assert_eq!(all(&both, OUTSIDE, Some(wrong)), [Err(WrongToken); 3], "{wrong}");
        }
        for entrance in [LOOPBACK, OUTSIDE, CERTIFIED] {
            assert_eq!(all(&both, entrance, Some("writer")), [Ok(()); 3]);
        }
    }

    #[test]
    fn without_a_write_token_nothing_is_changed_but_by_a_reload_on_loopback_or_by_a_certificate() {
        use AdminRefusal::{NoToken, NoWriteToken};
        let none = tokens(&[], &[]);
        assert_eq!(all(&none, LOOPBACK, None), [Ok(()), Ok(()), Err(NoWriteToken)]);
        assert_eq!(all(&none, OUTSIDE, None), [Err(NoToken), Err(NoWriteToken), Err(NoWriteToken)]);
        assert_eq!(all(&none, CERTIFIED, None), [Ok(()); 3]);
        let read = tokens(&["reader"], &[]);
        let readable = [Ok(()), Err(NoWriteToken), Err(NoWriteToken)];
        assert_eq!(all(&read, OUTSIDE, Some("reader")), readable);
        assert_eq!(all(&read, CERTIFIED, None), [Ok(()); 3]);
    }

    #[test]
    fn a_certificate_reads_and_leaves_changes_to_the_write_token_where_there_is_one() {
        use AdminRefusal::NoToken;
        assert_eq!(all(&tokens(&[], &["writer"]), CERTIFIED, None), [Ok(()), Err(NoToken), Err(NoToken)]);
    }

    #[test]
    fn what_is_insecure_in_writing_is_readable_without_tokens_and_no_more() {
        use AdminRefusal::{NoToken, NoWriteToken};
        let insecure = |mut tokens: AdminTokens| {
            tokens.insecure = true;
            all(&tokens, OUTSIDE, None)
        };
        assert_eq!(insecure(tokens(&[], &[])), [Ok(()), Err(NoWriteToken), Err(NoWriteToken)]);
        assert_eq!(insecure(tokens(&[], &["writer"])), [Err(NoToken); 3], "tokens that are there hold");
    }

    #[test]
    fn every_refusal_is_counted_by_itself() {
        let access = AdminAccess::default();
        for (index, refusal) in AdminRefusal::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| access.count(refusal));
        }
        assert_eq!(AdminRefusal::ALL.map(|refusal| access.refused(refusal)), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn records_are_shown_to_who_has_the_read_token_or_may_read_where_taps_are_open() {
        use AdminCredential::{Certificate, Nothing, ReadToken, WriteToken};
        use AdminRefusal::{NoReadToken, NoToken, WrongToken};
        let tap = |tokens: &AdminTokens, entrance, token: Option<&str>| {
            tokens.check(AdminAction::Tap, entrance, token.map(hash))
        };
        let (none, both) = (tokens(&[], &[]), tokens(&["reader"], &["writer"]));
        assert_eq!(tap(&none, LOOPBACK, None), Err(NoReadToken));
        assert_eq!(tap(&none, LOOPBACK, Some("guess")), Err(NoReadToken));
        for entrance in [LOOPBACK, OUTSIDE] {
            assert_eq!(tap(&both, entrance, None), Err(NoToken));
            assert_eq!(tap(&both, entrance, Some("guess")), Err(WrongToken));
            assert_eq!(tap(&both, entrance, Some("reader")), Ok(ReadToken));
            assert_eq!(tap(&both, entrance, Some("writer")), Ok(WriteToken));
        }
        assert_eq!(tap(&none, CERTIFIED, None), Ok(Certificate));
        let open = none.with_open_taps(true);
        assert_eq!(tap(&open, LOOPBACK, None), Ok(Nothing));
        assert_eq!(tap(&open, OUTSIDE, None), Err(NoToken));
        let open = both.with_open_taps(true);
        assert_eq!(tap(&open, LOOPBACK, None), Ok(Nothing));
        assert_eq!(tap(&open, OUTSIDE, None), Err(NoToken));
    }
}
