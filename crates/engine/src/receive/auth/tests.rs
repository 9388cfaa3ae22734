use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::Instant;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use crate::tenants::{
    BrokenRow, CertificateName, CertificateNames, Credential, RowChange, RowContent, Sender, TableSettings,
    Tenant, TenantLimits, TenantValues,
};

fn sender(credential: Credential, expires: Option<SystemTime>) -> Sender {
    Sender { name: "sender".into(), credential, expires, may_send_for: None }
}

fn tenant(id: &str, paused: bool, senders: Vec<Sender>) -> Arc<Tenant> {
    Arc::new(Tenant {
        id: id.into(),
        place: format!("{id}.yaml").into(),
        platform: None,
        senders: senders.into(),
        values: TenantValues::default(),
        exporters: None,
        limits: TenantLimits::default(),
        paused,
        hold: false,
    })
}

fn spiffe(uri: &str) -> CertificateName {
    CertificateName::Uri(uri.into())
}

fn table() -> Table {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let acme = vec![
        sender(Credential::token(b"acme-token"), None),
        sender(Credential::token(b"acme-token-2"), None),
        sender(Credential::basic(b"acme", b"pass:word"), None),
        sender(Credential::Certificate(spiffe("spiffe://prod/acme")), None),
        sender(Credential::token(b"acme-old"), Some(long_ago)),
    ];
    let globex = vec![
        sender(Credential::token(b"globex"), None),
        sender(Credential::Certificate(CertificateName::dns("globex.example.com")), None),
    ];
    let rows = [
        tenant("acme", false, acme),
        tenant("globex", false, globex),
        tenant("sleepy", true, vec![sender(Credential::token(b"sleepy"), None)]),
    ];
    let settings = TableSettings { attributes: vec!["tenant.id".into()], ..TableSettings::default() };
    Table::of(settings, &rows, &Table::default())
}

fn head(headers: &[(&str, &str)], certificate: Option<CertificateNames>) -> Parts {
    let request = headers
        .iter()
        .fold(Request::post("/v1/logs"), |request, (name, value)| request.header(*name, *value));
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    head.extensions.insert(ConnectionPeer {
        address: ([10, 0, 0, 1], 1).into(),
        certificate: certificate.map(Arc::new),
    });
    head
}

/// Whose sender it is, and which, or why nobody's.
async fn found(table: Table, mut head: Parts) -> Result<(String, usize), AuthFailure> {
    let tenants = Tenants::default();
    tenants.swap(table);
    let identified = Authenticator::Tenants.identify(&tenants, &mut head).await;
    assert!(!head.headers.contains_key("authorization"), "a credential is taken out of the head");
    let position = |identity: &SenderIdentity| {
        identity.tenant.senders.iter().position(|sender| std::ptr::eq(sender, identity.sender())).unwrap()
    };
    identified
        .map(|identity| {
            let identity = identity.unwrap();
            (identity.tenant.id.to_string(), position(&identity))
        })
        .map_err(|refusal| refusal.failure)
}

async fn by_header(value: &str) -> Result<(String, usize), AuthFailure> {
    found(table(), head(&[("authorization", value)], None)).await
}

#[tokio::test]
async fn a_sender_of_the_table_is_found_by_each_kind_of_credential() {
    assert_eq!(by_header("Bearer acme-token").await, Ok(("acme".into(), 0)));
    assert_eq!(by_header("bearer acme-token-2").await, Ok(("acme".into(), 1)));
    assert_eq!(by_header("Bearer globex").await, Ok(("globex".into(), 0)));
    let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
    assert_eq!(by_header(&basic("acme:pass:word")).await, Ok(("acme".into(), 2)));
    let with = |names| found(table(), head(&[], Some(names)));
    let uris =
        CertificateNames { uris: vec!["x:y".into(), "spiffe://prod/acme".into()], ..Default::default() };
    assert_eq!(with(uris).await, Ok(("acme".into(), 3)));
    let dns = CertificateNames { dns: vec!["Globex.Example.com".into()], ..Default::default() };
    assert_eq!(with(dns).await, Ok(("globex".into(), 1)));
    for wrong in [
        basic("acme:pass"),
        basic("acme:"),
        basic("globex:pass:word"),
        "Bearer acme-toke".into(),
        "Bearer acme-token-22".into(),
        "Bearer Acme-token".into(),
    ] {
        assert_eq!(by_header(&wrong).await, Err(AuthFailure::Unknown), "{wrong}");
    }
    // What is a URI there is no DNS name here.
    let names = CertificateNames {
        dns: vec!["spiffe://prod/acme".into()],
        common_name: Some("spiffe://prod/acme".into()),
        ..Default::default()
    };
    assert_eq!(with(names).await, Err(AuthFailure::Unknown));
}

#[tokio::test]
async fn a_header_decides_where_there_is_one_and_the_certificate_where_there_is_none() {
    let acme = || Some(CertificateNames { uris: vec!["spiffe://prod/acme".into()], ..Default::default() });
    let with = |headers: &[(&str, &str)]| found(table(), head(headers, acme()));
    assert_eq!(with(&[("authorization", "Bearer globex")]).await, Ok(("globex".into(), 0)));
    assert_eq!(with(&[("authorization", "Bearer wrong")]).await, Err(AuthFailure::Unknown));
    assert_eq!(with(&[("authorization", "")]).await, Err(AuthFailure::Malformed));
    assert_eq!(
        with(&[("authorization", "Bearer globex"), ("authorization", "Bearer globex")]).await,
        Err(AuthFailure::Malformed)
    );
    assert_eq!(with(&[("x-authorization", "Bearer globex")]).await, Ok(("acme".into(), 3)));
    assert_eq!(found(table(), head(&[], None)).await, Err(AuthFailure::Missing));
}

#[tokio::test]
async fn an_expired_credential_and_a_paused_tenant_are_told_apart_from_a_stranger() {
    assert_eq!(by_header("Bearer acme-old").await, Err(AuthFailure::Expired));
    assert_eq!(by_header("Bearer sleepy").await, Err(AuthFailure::Paused));
    let broken = |complete| {
        let broken = BrokenRow {
            id: None,
            problem: "broken".into(),
            credentials: vec![Credential::token(b"of-the-broken")],
            complete,
        };
        let change = RowChange { place: "broken.yaml".into(), content: RowContent::Broken(broken) };
        table().apply(vec![change], SystemTime::now()).0
    };
    let with = |complete, token| found(broken(complete), head(&[("authorization", token)], None));
    assert_eq!(with(true, "Bearer of-the-broken").await, Err(AuthFailure::Unavailable));
    assert_eq!(with(true, "Bearer of-nobody").await, Err(AuthFailure::Unknown));
    assert_eq!(
        with(false, "Bearer of-nobody").await,
        Err(AuthFailure::Unavailable),
        "it may be the broken row's"
    );
    assert_eq!(with(false, "Bearer globex").await, Ok(("globex".into(), 0)));
}

#[tokio::test]
async fn extensions_know_senders_by_their_own_header_and_scheme() {
    let keys = BearerTokens::new(
        HeaderName::from_static("x-key"),
        "",
        &["one".to_owned().into(), "two".to_owned().into()],
    );
    let mut users = HtpasswdUsers::default();
    users.add("acme:s3cret").unwrap();
    let basic = format!("BASIC {}", BASE64.encode("acme:s3cret"));
    for (authenticator, headers, expected) in [
        (Authenticator::Bearer(keys), vec![("x-key", "two")], None),
        (Authenticator::Basic(users), vec![("authorization", &*basic)], None),
    ] {
        let tenants = Tenants::default();
        let identify = async |headers: &[(&str, &str)]| {
            let mut head = head(headers, None);
            authenticator
                .identify(&tenants, &mut head)
                .await
                .map(|identity| identity.is_some())
                .map_err(|refusal| refusal.failure)
        };
        assert_eq!(identify(&headers).await.err(), expected);
        let (name, _) = headers[0];
        assert!(identify(&[(name, "three")]).await.is_err());
        assert_eq!(identify(&[]).await, Err(AuthFailure::Missing));
        assert_eq!(identify(&[headers[0], headers[0]]).await, Err(AuthFailure::Malformed));
        assert!(identify(&[("authorization", "Bearer two")]).await.is_err());
    }
}

#[tokio::test]
async fn every_authenticator_says_how_to_authenticate() {
    let asks = |authenticator: &Authenticator| {
        let challenges = authenticator.challenges();
        challenges.iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let bearer = |scheme: &str| Authenticator::Bearer(BearerTokens::new(AUTHORIZATION, scheme, &[]));
    let basic = "Basic realm=\"sluice\", charset=\"UTF-8\"";
    assert_eq!(asks(&Authenticator::Tenants), ["Bearer realm=\"sluice\"", basic]);
    assert_eq!(asks(&bearer("ApiKey")), ["ApiKey realm=\"sluice\""]);
    assert_eq!(asks(&bearer("")), ["Bearer realm=\"sluice\""]);
    assert_eq!(asks(&Authenticator::Basic(HtpasswdUsers::default())), [basic]);
}

fn caller(address: impl Into<IpAddr>) -> Caller {
    let mut head = head(&[], None);
    head.extensions.insert(ConnectionPeer { address: (address.into(), 1).into(), certificate: None });
    Caller::of(&"otlp".into(), &head, None)
}

/// How long a failure of this address takes.
async fn time_of(failures: &AuthFailures, last: u8, failure: AuthFailure) -> Duration {
    let start = Instant::now();
    failures.add(&caller([10, 0, 0, last]), failure.into()).await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn after_20_failures_in_a_minute_an_address_is_answered_late_and_no_other() {
    let failures = AuthFailures::default();
    for _ in 0..20 {
        assert_eq!(time_of(&failures, 1, AuthFailure::Unknown).await, Duration::ZERO);
    }
    assert_eq!(time_of(&failures, 1, AuthFailure::Missing).await, Duration::from_secs(1));
    assert_eq!(time_of(&failures, 2, AuthFailure::Missing).await, Duration::ZERO);
    for _ in 0..40 {
        assert_eq!(
            time_of(&failures, 3, AuthFailure::Paused).await,
            Duration::ZERO,
            "its credential is right"
        );
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(time_of(&failures, 1, AuthFailure::Unknown).await, Duration::ZERO);
    let counts: Vec<_> = failures
        .all()
        .into_iter()
        .map(|(of, failure, count)| (of.to_string(), failure.name(), count))
        .collect();
    let of = |cause, count| ("otlp".to_owned(), cause, count);
    assert_eq!(counts, [of("missing", 2), of("unknown", 21), of("paused", 40)]);
}

#[tokio::test(start_paused = true)]
async fn no_more_answers_wait_than_there_is_room_for() {
    let failures = Arc::new(AuthFailures::default());
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let failures = failures.clone();
            tokio::spawn(async move { time_of(&failures, 1, AuthFailure::Unknown).await })
        })
        .collect();
    let mut late = 0;
    for task in tasks {
        late += usize::from(task.await.unwrap() > Duration::ZERO);
    }
    assert_eq!(late, 1024);
}

/// Counts the lines of a log.
#[derive(Clone, Default)]
struct LogLines(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for LogLines {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn all_addresses_of_a_network_of_ipv6_have_one_line_in_the_log() {
    let (failures, lines) = (AuthFailures::default(), LogLines::default());
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    for host in 0..20 {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
        failures.add(&caller(address), AuthFailure::Expired.into()).await;
    }
    drop(guard);
    // Or none, if others in this process have just had all there are.
    assert!(lines.0.load(Ordering::Relaxed) <= 1, "{:?}", lines.0);
}
