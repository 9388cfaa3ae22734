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

impl House {
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
    let house = House::new(settings());
    house.limit(memory(500));
    house.admit_of("acme", &[("a", 300)]).unwrap();
    assert_eq!(house.admit_of("acme", &[("a", 201)]).unwrap_err(), over(TenantLimit::Memory));
    house.admit_of("acme", &[("b", 200)]).unwrap();
    let refused = house.admit_of("acme", &[("new", 2)]).unwrap_err();
    assert_eq!(refused, over(TenantLimit::Memory), "also an empty stream");
    assert_eq!((house.memory_of("acme"), house.streams_of("acme")), (500, 2), "nothing is left of it");
    assert!(house.quota("acme", Quota::was_over_limit_recently));
    house.admit_of("globex", &[("a", 1000)]).expect("others are not limited by that");
    house.deliver_all().await;
    assert_eq!((house.memory_of("acme"), house.memory_of("globex")), (0, 0));
    house.admit_of("acme", &[("a", 500)]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_is_refused_whole_for_the_share_of_one_tenant_in_it() {
    let house = House::new(settings());
    house.limit(memory(500));
    house.admit_of("acme", &[("a", 400)]).unwrap();
    let (acme, globex) = (of("acme", "a"), of("globex", "a"));
    let refused = house.admit(&[(&*globex, 100), (&*acme, 200)]).unwrap_err();
    assert_eq!(refused, over(TenantLimit::Memory));
    assert_eq!((house.memory_of("acme"), house.memory_of("globex")), (400, 0));
    assert_eq!(house.streams_of("globex"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_larger_than_the_share_is_taken_where_nothing_else_is_held() {
    let house = House::new(settings());
    house.limit(memory(500));
    house.admit_of("acme", &[("a", 300), ("b", 300), ("c", 700)]).unwrap();
    assert_eq!(house.memory_of("acme"), 1300);
    assert_eq!(house.admit_of("acme", &[("d", 2)]).unwrap_err(), over(TenantLimit::Memory));
    house.deliver_all().await;
    assert_eq!(house.memory_of("acme"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_stream_refuses_is_no_part_of_its_tenants_share() {
    let house = House::new(QueueSettings { queue_requests: Some(1), ..settings() });
    house.limit(memory(5000));
    house.admit_of("acme", &[("a", 100)]).unwrap();
    let refused = house.admit_of("acme", &[("b", 100), ("a", 100)]).unwrap_err();
    assert_eq!(full_stream(&refused), Some(&*of("acme", "a")));
    assert_eq!(house.memory_of("acme"), 100);
}

#[tokio::test(start_paused = true)]
async fn a_changed_share_counts_at_once() {
    let house = House::new(settings());
    house.limit(memory(500));
    house.admit_of("acme", &[("a", 500)]).unwrap();
    house.admit_of("acme", &[("a", 100)]).unwrap_err();
    house.limit(memory(600));
    house.admit_of("acme", &[("a", 100)]).unwrap();
    house.limit(memory(100));
    house.admit_of("acme", &[("b", 2)]).unwrap_err();
    house.limit(TenantLimits::default());
    house.admit_of("acme", &[("b", 1000)]).unwrap();
    house.deliver_all().await;
    assert_eq!(house.memory_of("acme"), 0);
}

#[tokio::test(start_paused = true)]
async fn under_shed_what_is_beyond_a_share_is_cut_out_and_says_whose_it_is() {
    let house = House::new(QueueSettings { when_full: WhenFull::Shed, ..settings() });
    house.limit(memory(500));
    house.admit_of("acme", &[("a", 500)]).unwrap();
    let (acme, globex) = (of("acme", "b"), of("globex", "a"));
    let sheds = house.admit(&[(&*acme, 100), (&*globex, 100)]).unwrap();
    let [shed] = &*sheds else { panic!("{sheds:?}") };
    assert_eq!(
        (shed.index, &*shed.full.to_string()),
        (0, "the tenant `acme` has reached its `limits.memory`")
    );
    assert_eq!((house.streams_of("acme"), house.memory_of("globex")), (1, 100));
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_its_tenants_limit_is_refused_and_one_that_ends_makes_room() {
    let house = House::new(settings());
    house.limit(streams(2));
    house.admit_of("acme", &[("a", 10), ("b", 10)]).unwrap();
    assert_eq!(house.admit_of("acme", &[("c", 10)]).unwrap_err(), over(TenantLimit::Streams));
    house.admit_of("acme", &[("a", 10)]).expect("those that there are go on");
    house.admit_of("globex", &[("a", 10), ("b", 10), ("c", 10)]).unwrap();
    house.deliver_all().await;
    house.registry.forget_idle();
    assert_eq!((house.streams_of("acme"), house.shared.streams.live()), (0, 0));
    let never = house.admit_of("acme", &[("a", 10), ("b", 10), ("c", 10)]).unwrap_err();
    assert_eq!(never, Refused::TooManyStreams, "so many it may never have");
    assert_eq!(house.streams_of("acme"), 0);
    house.limit(streams(3));
    house.admit_of("acme", &[("a", 10), ("b", 10), ("c", 10)]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_tenants_stream_that_meets_another_limit_leaves_its_place() {
    let house = House::new(settings());
    house.limit(streams(2));
    let route = Arc::new(StreamCount::new(0));
    let mut admission = house.admission();
    let at = Placement { registry: &house.registry, key: &of("acme", "a"), route: Some(&route) };
    admission.place(0, &Cow::Owned(entry(10)), 1, &at).unwrap_err();
    assert_eq!((house.streams_of("acme"), house.shared.streams.live()), (0, 0));
    let route = Arc::new(StreamCount::new(5));
    house.limit(streams(1));
    house.admit_of("acme", &[("b", 10)]).unwrap();
    let at = Placement { registry: &house.registry, key: &of("acme", "a"), route: Some(&route) };
    admission.place(0, &Cow::Owned(entry(10)), 1, &at).unwrap_err();
    assert_eq!((route.live(), house.streams_of("acme"), house.shared.streams.live()), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn with_a_journal_what_is_beyond_the_memory_stays_on_disk_until_the_journal_is_used_up() {
    let (journal, _) = journal(&SimulatedDisk::new(3), 4 << 20);
    let house = House::on(&journal, 1 << 20);
    let limits = TenantLimits {
        memory: NonZeroU64::new(800),
        journal: NonZeroU64::new(4000),
        ..TenantLimits::default()
    };
    house.limit(limits);
    let held = |house: &House| house.quota("acme", |quota| (quota.memory().held(), quota.journal().held()));
    for number in 1..=10 {
        let stream = if number % 2 == 0 { "a" } else { "b" };
        house.write(&journal, &of("acme", stream), ENTRY).unwrap();
        assert_eq!(held(&house), ((number * 400).min(800), number * 400));
    }
    assert_eq!(house.write(&journal, &of("acme", "a"), ENTRY), Err(over(TenantLimit::Journal)));
    assert_eq!(house.write(&journal, &of("acme", "c"), ENTRY), Err(over(TenantLimit::Journal)));
    house.write(&journal, &of("globex", "a"), ENTRY).unwrap();

    // What is put back takes no memory.
    let stream = house.stream(&of("acme", "a"));
    let (mut in_flight, _) = read_next(&stream).await;
    assert!(in_flight.put_back());
    assert_eq!(held(&house), (400, 4000));
    in_flight.read().await;
    deliver(in_flight);
    house.deliver_all().await;
    assert_eq!(held(&house), (0, 0));
    house.write(&journal, &of("acme", "a"), ENTRY).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_journal_had_of_a_tenant_counts_again() {
    let disk = SimulatedDisk::new(4);
    let (first, _) = journal(&disk, 4 << 20);
    let house = House::on(&first, 1 << 20);
    for stream in ["a", "b"] {
        house.write(&first, &of("acme", stream), ENTRY).unwrap();
    }
    drop((house, first));
    disk.kill();
    let (journal, found) = journal(&disk, 4 << 20);
    let house = House::on(&journal, 1 << 20);
    house.limit(TenantLimits {
        streams: NonZeroUsize::new(1),
        journal: NonZeroU64::new(1000),
        ..TenantLimits::default()
    });
    house.registry.recover(found);
    assert_eq!(house.streams_of("acme"), 2, "whatever the limit is");
    assert_eq!(house.quota("acme", |quota| (quota.memory().held(), quota.journal().held())), (0, 800));
    assert_eq!(house.write(&journal, &of("acme", "a"), ENTRY), Err(over(TenantLimit::Journal)));
    house.deliver_all().await;
    assert_eq!(house.quota("acme", |quota| (quota.memory().held(), quota.journal().held())), (0, 0));
    house.registry.forget_idle();
    assert_eq!(house.streams_of("acme"), 0);
}

#[tokio::test(start_paused = true)]
async fn shares_are_the_sums_of_what_streams_hold_whatever_happens() {
    use rand::{Rng as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for when_full in [WhenFull::Refuse, WhenFull::Shed] {
        let house = House::new(QueueSettings { when_full, queue_requests: Some(3), ..settings() });
        for _ in 0..3000 {
            match random.random_range(0..10) {
                0 => house.limit(TenantLimits {
                    memory: NonZeroU64::new(random.random_range(1..2000)),
                    streams: NonZeroUsize::new(random.random_range(1..6)),
                    ..TenantLimits::default()
                }),
                1..3 => {
                    if let Some(stream) = house.streams().first() {
                        while let Some(in_flight) = next(stream).await {
                            deliver(in_flight);
                        }
                    }
                }
                3 => house.registry.forget_idle(),
                _ => {
                    let entries: Vec<(String, usize)> = (0..random.random_range(1..4))
                        .map(|_| {
                            let tenant = ["acme", "globex"][random.random_range(0..2)];
                            let stream = ["a", "b", "c", "d"][random.random_range(0..4)];
                            (of(tenant, stream), random.random_range(131..500))
                        })
                        .collect();
                    let entries: Vec<_> = entries.iter().map(|(key, framed)| (&**key, *framed)).collect();
                    drop(house.admit(&entries));
                }
            }
            for tenant in ["acme", "globex"] {
                let (mut held, mut streams) = (0, 0);
                house.registry.for_each(|stream| {
                    if stream.name().key.tenant() == Some(tenant) {
                        held += stream.state().pending_bytes;
                        streams += 1;
                    }
                });
                assert_eq!((house.memory_of(tenant), house.streams_of(tenant)), (held, streams));
            }
        }
        house.deliver_all().await;
        assert_eq!((house.memory_of("acme"), house.memory_of("globex")), (0, 0));
    }
}
