//! What all streams of a tenant may hold together.

use std::num::{NonZeroU64, NonZeroUsize};

use super::backlog::{deliver, journal, read_next};
use super::*;
use crate::journal::simulation::SimulatedDisk;
use crate::route::RoutingKey;
use crate::tenants::{Quota, Table, TableSettings, Tenant, TenantLimit, TenantLimits, TenantValues};

/// The framed bytes of an entry: a batch of its own.
const ENTRY: usize = 400;

fn tenant(id: &str, limits: TenantLimits) -> Arc<Tenant> {
    Arc::new(Tenant {
        id: id.into(),
        place: id.into(),
        platform: None,
        senders: Box::default(),
        values: TenantValues::default(),
        exporters: None,
        limits,
        paused: false,
        hold: false,
    })
}

/// The routing key of a stream of a tenant, as it is written.
fn of(tenant: &str, text: &str) -> String {
    RoutingKey::of(Some(tenant), text, std::iter::empty()).as_written().to_string()
}

impl Fixture {
    /// Gives `acme` these limits from now on. `globex` has none.
    fn limit(&self, limits: TenantLimits) {
        let rows = [tenant("acme", limits), tenant("globex", TenantLimits::default())];
        let settings = TableSettings { attributes: vec!["tenant.id".to_owned()], ..TableSettings::default() };
        self.shared.tenants.swap(Table::of(settings, &rows, &Table::default()));
    }

    /// Admits entries of a tenant, for each stream one of so many bytes.
    fn admit_of(&self, tenant: &str, entries: &[(&str, usize)]) -> Result<Vec<Shed>, Refused> {
        let keys: Vec<_> = entries.iter().map(|(text, framed)| (of(tenant, text), *framed)).collect();
        let entries: Vec<_> = keys.iter().map(|(key, framed)| (&**key, *framed)).collect();
        self.admit(&entries)
    }

    fn quota<T>(&self, tenant: &str, look: impl FnOnce(&Quota) -> T) -> T {
        look(self.shared.tenants.account(tenant).quota())
    }

    fn memory_of(&self, tenant: &str) -> u64 {
        self.quota(tenant, |quota| quota.memory().held())
    }

    fn streams_of(&self, tenant: &str) -> usize {
        self.quota(tenant, |quota| quota.usage(&TenantLimits::default()).streams)
    }

    fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams = Vec::new();
        self.registry.for_each(|stream| streams.push(stream.clone()));
        streams
    }

    /// Delivers all that there is.
    async fn deliver_all(&self) {
        for stream in self.streams() {
            while let Some(mut in_flight) = next(&stream).await {
                in_flight.read().await;
                deliver(in_flight);
            }
        }
    }
}

fn over(limit: TenantLimit) -> Refused {
    Refused::Full(Full::Tenant { tenant: "acme".into(), limit })
}

fn memory(most: u64) -> TenantLimits {
    TenantLimits { memory: NonZeroU64::new(most), ..TenantLimits::default() }
}

fn streams(most: usize) -> TenantLimits {
    TenantLimits { streams: NonZeroUsize::new(most), ..TenantLimits::default() }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_share_is_full_is_refused_alone_until_something_of_it_is_delivered() {
    let fixture = Fixture::new(settings());
    fixture.limit(memory(500));
    fixture.admit_of("acme", &[("a", 300)]).unwrap();
    assert_eq!(fixture.admit_of("acme", &[("a", 201)]).unwrap_err(), over(TenantLimit::Memory));
    fixture.admit_of("acme", &[("b", 200)]).unwrap();
    let refused = fixture.admit_of("acme", &[("new", 2)]).unwrap_err();
    assert_eq!(refused, over(TenantLimit::Memory), "also an empty stream");
    assert_eq!((fixture.memory_of("acme"), fixture.streams_of("acme")), (500, 2), "nothing is left of it");
    assert!(fixture.quota("acme", Quota::was_over_limit_recently));
    fixture.admit_of("globex", &[("a", 1000)]).expect("others are not limited by that");
    fixture.deliver_all().await;
    assert_eq!((fixture.memory_of("acme"), fixture.memory_of("globex")), (0, 0));
    fixture.admit_of("acme", &[("a", 500)]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_is_refused_whole_for_the_share_of_one_tenant_in_it() {
    let fixture = Fixture::new(settings());
    fixture.limit(memory(500));
    fixture.admit_of("acme", &[("a", 400)]).unwrap();
    let (acme, globex) = (of("acme", "a"), of("globex", "a"));
    let refused = fixture.admit(&[(&*globex, 100), (&*acme, 200)]).unwrap_err();
    assert_eq!(refused, over(TenantLimit::Memory));
    assert_eq!((fixture.memory_of("acme"), fixture.memory_of("globex")), (400, 0));
    assert_eq!(fixture.streams_of("globex"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_larger_than_the_share_is_taken_where_nothing_else_is_held() {
    let fixture = Fixture::new(settings());
    fixture.limit(memory(500));
    fixture.admit_of("acme", &[("a", 300), ("b", 300), ("c", 700)]).unwrap();
    assert_eq!(fixture.memory_of("acme"), 1300);
    assert_eq!(fixture.admit_of("acme", &[("d", 2)]).unwrap_err(), over(TenantLimit::Memory));
    fixture.deliver_all().await;
    assert_eq!(fixture.memory_of("acme"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_stream_refuses_is_no_part_of_its_tenants_share() {
    let fixture = Fixture::new(QueueSettings { queue_requests: Some(1), ..settings() });
    fixture.limit(memory(5000));
    fixture.admit_of("acme", &[("a", 100)]).unwrap();
    let refused = fixture.admit_of("acme", &[("b", 100), ("a", 100)]).unwrap_err();
    assert_eq!(full_stream(&refused), Some(&*of("acme", "a")));
    assert_eq!(fixture.memory_of("acme"), 100);
}

#[tokio::test(start_paused = true)]
async fn a_changed_share_counts_at_once() {
    let fixture = Fixture::new(settings());
    fixture.limit(memory(500));
    fixture.admit_of("acme", &[("a", 500)]).unwrap();
    fixture.admit_of("acme", &[("a", 100)]).unwrap_err();
    fixture.limit(memory(600));
    fixture.admit_of("acme", &[("a", 100)]).unwrap();
    fixture.limit(memory(100));
    fixture.admit_of("acme", &[("b", 2)]).unwrap_err();
    fixture.limit(TenantLimits::default());
    fixture.admit_of("acme", &[("b", 1000)]).unwrap();
    fixture.deliver_all().await;
    assert_eq!(fixture.memory_of("acme"), 0);
}

#[tokio::test(start_paused = true)]
async fn under_shed_what_is_beyond_a_share_is_cut_out_and_says_whose_it_is() {
    let fixture = Fixture::new(QueueSettings { when_full: WhenFull::Shed, ..settings() });
    fixture.limit(memory(500));
    fixture.admit_of("acme", &[("a", 500)]).unwrap();
    let (acme, globex) = (of("acme", "b"), of("globex", "a"));
    let sheds = fixture.admit(&[(&*acme, 100), (&*globex, 100)]).unwrap();
    let [shed] = &*sheds else { panic!("{sheds:?}") };
    assert_eq!(
        (shed.index, &*shed.full.to_string()),
        (0, "the tenant `acme` has reached its `limits.memory`")
    );
    assert_eq!((fixture.streams_of("acme"), fixture.memory_of("globex")), (1, 100));
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_its_tenants_limit_is_refused_and_one_that_ends_makes_room() {
    let fixture = Fixture::new(settings());
    fixture.limit(streams(2));
    fixture.admit_of("acme", &[("a", 10), ("b", 10)]).unwrap();
    assert_eq!(fixture.admit_of("acme", &[("c", 10)]).unwrap_err(), over(TenantLimit::Streams));
    fixture.admit_of("acme", &[("a", 10)]).expect("those that there are go on");
    fixture.admit_of("globex", &[("a", 10), ("b", 10), ("c", 10)]).unwrap();
    fixture.deliver_all().await;
    fixture.registry.forget_idle();
    assert_eq!((fixture.streams_of("acme"), fixture.shared.streams.live()), (0, 0));
    let never = fixture.admit_of("acme", &[("a", 10), ("b", 10), ("c", 10)]).unwrap_err();
    assert_eq!(never, Refused::TooManyStreams, "so many it may never have");
    assert_eq!(fixture.streams_of("acme"), 0);
    fixture.limit(streams(3));
    fixture.admit_of("acme", &[("a", 10), ("b", 10), ("c", 10)]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_tenants_stream_that_meets_another_limit_leaves_its_place() {
    let fixture = Fixture::new(settings());
    fixture.limit(streams(2));
    let route = Arc::new(StreamCount::new(0));
    let mut admission = fixture.admission();
    let at = Placement { registry: &fixture.registry, key: &of("acme", "a"), route: Some(&route) };
    admission.place(0, &Cow::Owned(entry(10)), 1, &at).unwrap_err();
    assert_eq!((fixture.streams_of("acme"), fixture.shared.streams.live()), (0, 0));
    let route = Arc::new(StreamCount::new(5));
    fixture.limit(streams(1));
    fixture.admit_of("acme", &[("b", 10)]).unwrap();
    let at = Placement { registry: &fixture.registry, key: &of("acme", "a"), route: Some(&route) };
    admission.place(0, &Cow::Owned(entry(10)), 1, &at).unwrap_err();
    assert_eq!((route.live(), fixture.streams_of("acme"), fixture.shared.streams.live()), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn with_a_journal_what_is_beyond_the_memory_stays_on_disk_until_the_journal_is_used_up() {
    let (journal, _) = journal(&SimulatedDisk::new(3), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let limits = TenantLimits {
        memory: NonZeroU64::new(800),
        journal: NonZeroU64::new(4000),
        ..TenantLimits::default()
    };
    fixture.limit(limits);
    let held =
        |fixture: &Fixture| fixture.quota("acme", |quota| (quota.memory().held(), quota.journal().held()));
    for number in 1..=10 {
        let stream = if number % 2 == 0 { "a" } else { "b" };
        fixture.write(&journal, &of("acme", stream), ENTRY).unwrap();
        assert_eq!(held(&fixture), ((number * 400).min(800), number * 400));
    }
    assert_eq!(fixture.write(&journal, &of("acme", "a"), ENTRY), Err(over(TenantLimit::Journal)));
    assert_eq!(fixture.write(&journal, &of("acme", "c"), ENTRY), Err(over(TenantLimit::Journal)));
    fixture.write(&journal, &of("globex", "a"), ENTRY).unwrap();

    // What is put back takes no memory.
    let stream = fixture.stream(&of("acme", "a"));
    let (mut in_flight, _) = read_next(&stream).await;
    assert!(in_flight.put_back());
    assert_eq!(held(&fixture), (400, 4000));
    in_flight.read().await;
    deliver(in_flight);
    fixture.deliver_all().await;
    assert_eq!(held(&fixture), (0, 0));
    fixture.write(&journal, &of("acme", "a"), ENTRY).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_journal_had_of_a_tenant_counts_again() {
    let disk = SimulatedDisk::new(4);
    let (first, _) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&first, 1 << 20);
    for stream in ["a", "b"] {
        fixture.write(&first, &of("acme", stream), ENTRY).unwrap();
    }
    drop((fixture, first));
    disk.kill();
    let (journal, found) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    fixture.limit(TenantLimits {
        streams: NonZeroUsize::new(1),
        journal: NonZeroU64::new(1000),
        ..TenantLimits::default()
    });
    fixture.registry.recover(found);
    assert_eq!(fixture.streams_of("acme"), 2, "whatever the limit is");
    assert_eq!(fixture.quota("acme", |quota| (quota.memory().held(), quota.journal().held())), (0, 800));
    assert_eq!(fixture.write(&journal, &of("acme", "a"), ENTRY), Err(over(TenantLimit::Journal)));
    fixture.deliver_all().await;
    assert_eq!(fixture.quota("acme", |quota| (quota.memory().held(), quota.journal().held())), (0, 0));
    fixture.registry.forget_idle();
    assert_eq!(fixture.streams_of("acme"), 0);
}

#[tokio::test(start_paused = true)]
async fn shares_are_the_sums_of_what_streams_hold_whatever_happens() {
    use rand::{Rng as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for when_full in [WhenFull::Refuse, WhenFull::Shed] {
        let fixture = Fixture::new(QueueSettings { when_full, queue_requests: Some(3), ..settings() });
        for _ in 0..3000 {
            match random.random_range(0..10) {
                0 => fixture.limit(TenantLimits {
                    memory: NonZeroU64::new(random.random_range(1..2000)),
                    streams: NonZeroUsize::new(random.random_range(1..6)),
                    ..TenantLimits::default()
                }),
                1..3 => {
                    if let Some(stream) = fixture.streams().first() {
                        while let Some(in_flight) = next(stream).await {
                            deliver(in_flight);
                        }
                    }
                }
                3 => fixture.registry.forget_idle(),
                _ => {
                    let entries: Vec<(String, usize)> = (0..random.random_range(1..4))
                        .map(|_| {
                            let tenant = ["acme", "globex"][random.random_range(0..2)];
                            let stream = ["a", "b", "c", "d"][random.random_range(0..4)];
                            (of(tenant, stream), random.random_range(131..500))
                        })
                        .collect();
                    let entries: Vec<_> = entries.iter().map(|(key, framed)| (&**key, *framed)).collect();
                    drop(fixture.admit(&entries));
                }
            }
            for tenant in ["acme", "globex"] {
                let (mut held, mut streams) = (0, 0);
                fixture.registry.for_each(|stream| {
                    if stream.name().key.tenant() == Some(tenant) {
                        held += stream.state().pending_bytes;
                        streams += 1;
                    }
                });
                assert_eq!((fixture.memory_of(tenant), fixture.streams_of(tenant)), (held, streams));
            }
        }
        fixture.deliver_all().await;
        assert_eq!((fixture.memory_of("acme"), fixture.memory_of("globex")), (0, 0));
    }
}
