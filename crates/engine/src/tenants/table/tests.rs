//! Who holds what, and what is answered to a credential, whatever becomes of rows.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tenants::{CertificateName, Sender, TenantLimits, TenantValues};

fn sender(name: &str, credential: Credential) -> Sender {
    Sender { name: name.into(), credential, expires: None, may_send_for: None }
}

fn row(id: &str, place: &str, senders: Vec<Sender>) -> Arc<Tenant> {
    Arc::new(Tenant {
        id: id.into(),
        place: place.into(),
        platform: None,
        senders: senders.into(),
        values: TenantValues::default(),
        exporters: None,
        limits: TenantLimits::default(),
        paused: false,
        hold: false,
    })
}

/// A row in the file of its name, whose senders have these tokens.
fn with_tokens(id: &str, tokens: &[&str]) -> Arc<Tenant> {
    let senders = tokens.iter().enumerate();
    let senders = senders.map(|(at, token)| sender(&format!("s{at}"), Credential::token(token.as_bytes())));
    row(id, &format!("{id}.yaml"), senders.collect())
}

fn is(tenant: Arc<Tenant>) -> RowChange {
    RowChange { place: tenant.place.clone(), content: RowContent::Row(tenant) }
}

fn gone(place: &str) -> RowChange {
    RowChange { place: place.into(), content: RowContent::Gone }
}

/// A row that is broken, whose senders have these tokens and perhaps others.
fn broken(id: &str, tokens: &[&str], complete: bool) -> RowChange {
    let broken = BrokenRow {
        id: Some(id.into()),
        problem: "it is broken".to_owned(),
        credentials: tokens.iter().map(|token| Credential::token(token.as_bytes())).collect(),
        complete,
    };
    RowChange { place: format!("{id}.yaml").into(), content: RowContent::Broken(broken) }
}

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn table(changes: Vec<RowChange>) -> Table {
    Table::default().apply(changes, NOW).0
}

/// What is answered to a token: whose it is, or why it is nobody's.
fn whose(table: &Table, token: &str) -> String {
    match table.by_token(token.as_bytes(), NOW) {
        SenderLookup::Sender { tenant, position } => {
            format!("{}/{}", tenant.id, tenant.senders[position].name)
        }
        other => format!("{other:?}"),
    }
}

fn problem(table: &Table, place: &str) -> String {
    table.problem(place).map(|problem| problem.text.clone()).unwrap_or_default()
}

#[test]
fn a_credential_finds_its_sender_and_no_other() {
    let mesh = |name: CertificateName| Credential::Certificate(name);
    let table = table(vec![
        is(with_tokens("acme", &["one", "two"])),
        is(row(
            "globex",
            "globex.yaml",
            vec![
                sender("basic", Credential::basic(b"globex", b"pass")),
                sender("uri", mesh(CertificateName::Uri("spiffe://prod/globex".into()))),
                sender("dns", mesh(CertificateName::dns("Globex.example"))),
            ],
        )),
    ]);
    assert_eq!(whose(&table, "two"), "acme/s1");
    assert_eq!(whose(&table, "tw"), "Unknown");
    assert_eq!(whose(&table, "twoo"), "Unknown");
    let name = |found: SenderLookup<'_>| match found {
        SenderLookup::Sender { tenant, position } => tenant.senders[position].name.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(name(table.by_basic(b"globex", b"pass", NOW)), "basic");
    assert_eq!(name(table.by_basic(b"globe", b"xpass", NOW)), "Unknown");
    let names = |uri: &str, dns: &str| CertificateNames {
        uris: vec!["spiffe://other".into(), uri.into()],
        dns: vec![dns.into()],
        common_name: Some("Globex.example".into()),
    };
    assert_eq!(name(table.by_certificate(&names("spiffe://prod/globex", "x"), NOW)), "uri");
    assert_eq!(name(table.by_certificate(&names("y", "gloBEX.example"), NOW)), "dns");
    assert_eq!(name(table.by_certificate(&names("y", "x"), NOW)), "Unknown", "a DNS name is no common name");
}

#[test]
fn a_credential_that_has_expired_is_told_from_an_unknown_one() {
    let mut tenant = (*with_tokens("acme", &["one"])).clone();
    tenant.senders[0].expires = Some(NOW + Duration::from_secs(60));
    let table = table(vec![is(Arc::new(tenant))]);
    assert_eq!(whose(&table, "one"), "acme/s0");
    for (after, expired) in [(59, false), (60, true), (61, true)] {
        let found = table.by_token(b"one", NOW + Duration::from_secs(after));
        assert_eq!(matches!(found, SenderLookup::Expired), expired, "{after}");
    }
}

#[test]
fn a_row_that_breaks_keeps_what_it_had() {
    let before = table(vec![is(with_tokens("acme", &["one"]))]);
    let (after, applied) = before.apply(vec![broken("acme", &["two"], true)], NOW);
    assert_eq!(applied.broken, ["acme.yaml".into()]);
    assert_eq!((whose(&after, "one"), whose(&after, "two")), ("acme/s0".into(), "Unknown".into()));
    assert!(matches!(after.tenant("acme"), Some(TableRow::Ready(_))));
    let later = NOW + Duration::from_secs(5);
    let (again, applied) = after.apply(vec![broken("acme", &["two"], true)], later);
    assert_eq!(applied, AppliedRows::default(), "it is no news");
    assert_eq!(again.problem("acme.yaml").unwrap().since, NOW);
    let (repaired, applied) = again.apply(vec![is(with_tokens("acme", &["one"]))], later);
    assert_eq!(applied.repaired, ["acme.yaml".into()]);
    let (Some(TableRow::Ready(old)), Some(TableRow::Ready(new))) =
        (before.tenant("acme"), repaired.tenant("acme"))
    else {
        panic!("both are there")
    };
    assert!(Arc::ptr_eq(old, new), "a row that says the same again is the same");
}

#[test]
fn a_row_that_never_was_a_tenant_makes_its_credentials_unavailable_and_no_others() {
    let known = table(vec![broken("acme", &["one"], true), is(with_tokens("globex", &["two"]))]);
    assert!(matches!(known.tenant("acme"), Some(TableRow::Broken)));
    assert_eq!((whose(&known, "one"), whose(&known, "two")), ("Unavailable".into(), "globex/s0".into()));
    assert_eq!(whose(&known, "three"), "Unknown");
    let (uncertain, _) = known.apply(vec![broken("initech", &[], false)], NOW);
    assert_eq!(whose(&uncertain, "three"), "Unavailable", "it may be initech's");
    assert_eq!(whose(&uncertain, "two"), "globex/s0");
    let (certain, _) = uncertain.apply(vec![gone("initech.yaml")], NOW);
    assert_eq!(whose(&certain, "three"), "Unknown");
    assert!(certain.tenant("initech").is_none());
}

#[test]
fn of_two_rows_with_one_credential_the_one_that_was_there_stays() {
    let before = table(vec![is(with_tokens("globex", &["one"]))]);
    let (after, applied) = before.apply(vec![is(with_tokens("acme", &["new", "one"]))], NOW);
    assert_eq!(applied.broken, ["acme.yaml".into()]);
    assert_eq!(
        problem(&after, "acme.yaml"),
        "the token of sender `s1` is also that of sender `s0` of tenant `globex` (`globex.yaml`)"
    );
    assert_eq!((whose(&after, "one"), whose(&after, "new")), ("globex/s0".into(), "Unavailable".into()));
    // It changes something else, and still is the one that was there.
    let (after, _) = after.apply(vec![is(with_tokens("globex", &["more", "one"]))], NOW);
    assert_eq!((whose(&after, "one"), whose(&after, "more")), ("globex/s1".into(), "globex/s0".into()));
    // Once it goes, the other one has its turn, though nothing has changed there.
    let (after, applied) = after.apply(vec![gone("globex.yaml")], NOW);
    assert_eq!(applied.repaired, ["acme.yaml".into()]);
    assert_eq!((whose(&after, "one"), whose(&after, "new")), ("acme/s1".into(), "acme/s0".into()));
}

#[test]
fn of_two_new_rows_with_one_credential_or_id_the_first_by_place_counts() {
    let two = table(vec![is(with_tokens("b", &["one"])), is(with_tokens("a", &["one"]))]);
    assert_eq!(whose(&two, "one"), "a/s0");
    assert!(problem(&two, "b.yaml").contains("tenant `a` (`a.yaml`)"));
    let same = table(vec![is(row("a", "a.yml", vec![])), is(row("a", "a.yaml", vec![]))]);
    assert_eq!(problem(&same, "a.yml"), "the id `a` is also that of `a.yaml`");
    assert!(matches!(same.tenant("a"), Some(TableRow::Ready(tenant)) if &*tenant.place == "a.yaml"));
}

#[test]
fn credentials_change_hands_in_one_step() {
    let before = table(vec![is(with_tokens("a", &["one"])), is(with_tokens("b", &["two"]))]);
    let (after, applied) =
        before.apply(vec![is(with_tokens("a", &["two"])), is(with_tokens("b", &["one"]))], NOW);
    assert_eq!(applied, AppliedRows::default());
    assert_eq!((whose(&after, "one"), whose(&after, "two")), ("b/s0".into(), "a/s0".into()));
}

#[test]
fn the_table_before_does_not_change() {
    let before = table(vec![is(with_tokens("acme", &["one"]))]);
    let (_, _) = before.apply(vec![gone("acme.yaml"), is(with_tokens("globex", &["two"]))], NOW);
    assert_eq!((whose(&before, "one"), whose(&before, "two")), ("acme/s0".into(), "Unknown".into()));
}

#[test]
fn tenants_of_a_list_that_are_equal_stay_the_same() {
    let list = |tokens: [&str; 2]| [with_tokens("a", &tokens[..1]), with_tokens("b", &tokens[1..])];
    let before = Table::of(TableSettings::default(), &list(["one", "two"]), &Table::default());
    let after = Table::of(TableSettings::default(), &list(["one", "three"]), &before);
    let same = |id: &str| match (before.tenant(id), after.tenant(id)) {
        (Some(TableRow::Ready(old)), Some(TableRow::Ready(new))) => Arc::ptr_eq(old, new),
        other => panic!("{other:?}"),
    };
    assert_eq!((same("a"), same("b")), (true, false));
    assert_eq!((whose(&after, "two"), whose(&after, "three")), ("Unknown".into(), "b/s0".into()));
}

#[test]
fn a_row_of_a_list_that_only_moves_is_the_same_and_known_by_its_new_place() {
    let at = |line: usize| row("acme", &format!("tenants.yaml:{line}:3"), vec![]);
    let before = Table::of(TableSettings::default(), &[at(1)], &Table::default());
    let after = Table::of(TableSettings::default(), &[at(2)], &before);
    assert!(TableRow::are_same(before.tenant("acme"), after.tenant("acme")));
    assert!(
        matches!(after.tenant("acme"), Some(TableRow::Ready(tenant)) if &*tenant.place == "tenants.yaml:2:3")
    );
    assert!(after.is_tenant("tenants.yaml:2:3") && !after.is_tenant("tenants.yaml:1:3"));
}

/// What a file is made to hold.
#[derive(Clone, Debug)]
enum Written {
    Nothing,
    /// Broken; the tokens that are known, and whether these are all.
    Broken(Vec<u8>, bool),
    Row(Vec<u8>),
}

fn written() -> impl Strategy<Value = Written> {
    let tokens =
        || proptest::collection::btree_set(0..6_u8, 0..3).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    prop_oneof![
        1 => Just(Written::Nothing),
        1 => (tokens(), any::<bool>()).prop_map(|(tokens, complete)| Written::Broken(tokens, complete)),
        4 => tokens().prop_map(Written::Row),
    ]
}

/// A table without indexes: what each file holds, and the tokens of the tenant that it is.
#[derive(Clone, Default)]
struct Model {
    files: BTreeMap<u8, Written>,
    tenants: BTreeMap<u8, Vec<u8>>,
}

impl Model {
    fn apply(&mut self, changes: &BTreeMap<u8, Written>) {
        for (file, written) in changes {
            self.files.insert(*file, written.clone());
            if matches!(written, Written::Nothing) {
                self.tenants.remove(file);
            }
        }
        // Every file whose row is not what it is used as wants to be.
        let mut wanting: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (file, written) in &self.files {
            if let Written::Row(tokens) = written {
                wanting.insert(*file, tokens.clone());
            }
        }
        wanting.retain(|file, tokens| changes.contains_key(file) || self.tenants.get(file) != Some(tokens));
        loop {
            let holder = |token: &u8| {
                self.tenants.iter().find(|(_, tokens)| tokens.contains(token)).map(|(file, _)| *file)
            };
            let is_held = |file: u8, token: &u8| {
                holder(token).is_some_and(|holder| {
                    holder != file && wanting.get(&holder).is_none_or(|tokens| tokens.contains(token))
                })
            };
            let mut losing: Vec<u8> = wanting
                .iter()
                .filter(|(file, tokens)| tokens.iter().any(|token| is_held(**file, token)))
                .map(|(file, _)| *file)
                .collect();
            if losing.is_empty() {
                let mut taken: BTreeSet<u8> = BTreeSet::new();
                for (file, tokens) in &wanting {
                    if tokens.iter().any(|token| taken.contains(token)) {
                        losing.push(*file);
                    } else {
                        taken.extend(tokens);
                    }
                }
            }
            if losing.is_empty() {
                break;
            }
            wanting.retain(|file, _| !losing.contains(file));
        }
        self.tenants.extend(wanting);
    }

    /// What is answered to a token.
    fn whose(&self, token: u8) -> String {
        let lone = self.files.iter().filter(|(file, _)| !self.tenants.contains_key(file));
        if let Some((file, tokens)) = self.tenants.iter().find(|(_, tokens)| tokens.contains(&token)) {
            let sender = tokens.iter().position(|other| *other == token).unwrap();
            return format!("f{file}/s{sender}");
        }
        let may_be = |written: &Written| match written {
            Written::Nothing => false,
            Written::Broken(tokens, complete) => !complete || tokens.contains(&token),
            Written::Row(tokens) => tokens.contains(&token),
        };
        if lone.into_iter().any(|(_, written)| may_be(written)) { "Unavailable" } else { "Unknown" }
            .to_owned()
    }
}

proptest! {
    #[test]
    fn a_table_is_what_a_model_without_indexes_says(
        batches in proptest::collection::vec(proptest::collection::btree_map(0..5_u8, written(), 1..4), 1..20)
    ) {
        let token = |token: &u8| format!("token-{token}");
        let (mut model, mut table) = (Model::default(), Table::default());
        for batch in batches {
            model.apply(&batch);
            let changes = batch.iter().map(|(file, written)| {
                let id = format!("f{file}");
                let tokens = |tokens: &[u8]| tokens.iter().map(token).collect::<Vec<_>>();
                match written {
                    Written::Nothing => gone(&format!("{id}.yaml")),
                    Written::Broken(known, complete) => {
                        let known = tokens(known);
                        broken(&id, &known.iter().map(String::as_str).collect::<Vec<_>>(), *complete)
                    }
                    Written::Row(known) => {
                        let known = tokens(known);
                        is(with_tokens(&id, &known.iter().map(String::as_str).collect::<Vec<_>>()))
                    }
                }
            });
            table = table.apply(changes.collect(), NOW).0;
            for number in 0..6 {
                prop_assert_eq!(whose(&table, &token(&number)), model.whose(number), "{}", number);
            }
            for (file, written) in &model.files {
                let id = format!("f{file}");
                let expected = match (model.tenants.contains_key(file), written) {
                    (true, _) => "ready",
                    (false, Written::Nothing) => "nothing",
                    (false, _) => "broken",
                };
                let found = match table.tenant(&id) {
                    Some(TableRow::Ready(_)) => "ready",
                    Some(TableRow::Broken) => "broken",
                    None => "nothing",
                };
                prop_assert_eq!(found, expected, "{}", id);
                let is_wrong = match written {
                    Written::Nothing => false,
                    Written::Broken(..) => true,
                    Written::Row(tokens) => model.tenants.get(file) != Some(tokens),
                };
                prop_assert_eq!(table.problem(&format!("{id}.yaml")).is_some(), is_wrong, "{}", id);
            }
            prop_assert_eq!(table.tenants().count(), model.tenants.len());
        }
    }
}
