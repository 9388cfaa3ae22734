//! Following a page of the API: what it shows is sent as server-sent events, at once and then each second if it has changed.
//!
//! A page is made once for all who follow it at the same time, by a task that ends with the last of them: with nobody there it costs
//! nothing. An event has the whole page, so that of two events which a follower has not taken the newer one is kept alone. A follower
//! that takes none for [`PATIENCE`] is left. Whether a follower may read is asked again each second, so that a token which a reload
//! has changed ends what was begun with it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::access::AdminEntrance;
use crate::descriptors::descriptors;
use crate::receive::{HttpResponse, ResponseBody};
use crate::secret_hash::SecretHash;
use crate::stream::{Budget, Reservation};

/// The media type of server-sent events.
const EVENTS: &str = "text/event-stream";

/// Tells a proxy in front of the listener not to hold events back.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Followers at a time, of all pages together. Where the listener has few connections, half as many as these.
const MOST: usize = 64;

/// How often a page is made, at most.
const PAUSE: Duration = Duration::from_secs(1);

/// A page that takes long to make is made after so many times as long, so that following it takes a tenth of a processor.
const REST: u32 = 10;

/// A follower to which there is nothing new to tell is told so after this time: proxies close connections that are silent.
const SILENCE: Duration = Duration::from_secs(15);

/// A follower that takes nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of a page that can be followed.
const LARGEST: usize = 1 << 20;

pub(super) const STILL_HERE: Bytes = Bytes::from_static(b": still here\n\n");

/// All who follow a page of one listener.
#[derive(Debug)]
pub(super) struct Followers {
    places: Arc<Semaphore>,
    most: usize,
    /// What events are reserved on.
    budget: Arc<Budget>,
    /// By path and query. A page is here from [`Followers::begin`] until the end of its [`Followers::tell`].
    pages: Mutex<HashMap<String, FollowedPage>>,
}

#[derive(Debug)]
struct FollowedPage {
    newest: Bytes,
    followers: Vec<Follower>,
}

/// One who follows a page, until it is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    reader: PageReader,
    outbox: Arc<Outbox>,
    /// When it was last sent something.
    told: Instant,
    _place: OwnedSemaphorePermit,
}

/// Who reads a page, as far as it depends on that whether it may.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageReader {
    pub(super) entrance: AdminEntrance,
    /// Of the bearer token.
    pub(super) token: Option<SecretHash>,
}

/// What a follower is to be sent, and has not taken yet.
#[derive(Debug)]
struct Outbox(Mutex<OutboxState>);

#[derive(Debug)]
struct OutboxState {
    event: Option<Bytes>,
    /// Since when there has been an event.
    since: Instant,
    /// Nothing comes behind that event.
    over: bool,
    reader: Option<Waker>,
}

/// The body of the answer to a follower.
struct EventBody(Arc<Outbox>);

/// What is there of a page that is to be followed.
pub(super) enum Joined {
    /// It is followed already: the answer to one more.
    Answer(HttpResponse),
    /// It is to be made first.
    First(Follower),
    /// There is no place for one more follower; there are so many.
    Full(usize),
}

/// Why a page can't be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfollowable {
    #[error("this page is larger than {} KiB, which is too much to be sent again and again: ask for less of it, such as by `limit`", LARGEST / 1024)]
    TooLarge,
    #[error("too many pages are on their way to others; try again")]
    NoRoom,
}

/// Whether a request asks for events.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|range| {
        let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
        let is_refused = parameters.split(';').any(|parameter| {
            let quality = parameter.trim().strip_prefix("q=").map(str::parse::<f32>);
            quality.is_some_and(|quality| quality == Ok(0.0))
        });
        media_type.trim().eq_ignore_ascii_case(EVENTS) && !is_refused
    })
}

/// An answer whose body is events, for as long as there are any and somebody reads them.
pub(super) fn events(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> HttpResponse {
    let mut answer = Response::new(ResponseBody::lasting_stream(body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    answer
}

/// An event, whose `data` is a line of JSON.
pub(super) fn event(name: &str, json: &[u8]) -> Vec<u8> {
    [b"event: ", name.as_bytes(), b"\ndata: ", json.trim_ascii_end(), b"\n\n"].concat()
}

impl Followers {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        let most = MOST.min(descriptors().of_people() / 2);
        Self { places: Arc::new(Semaphore::new(most)), most, budget, pages: Mutex::default() }
    }

    /// Adds a follower to those of the page at this address, if it is followed already.
    pub(super) fn join(&self, address: &str, reader: PageReader) -> Joined {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return Joined::Full(self.most) };
        let follower = Follower::new(reader, place);
        match self.pages.lock().get_mut(address) {
            Some(page) => Joined::Answer(page.add(follower)),
            None => Joined::First(follower),
        }
    }

    /// Begins to follow the page at this address, which shows this JSON now. Returns the answer to the follower, and whether
    /// [`Followers::tell`] has to be begun: not if somebody else has begun meanwhile.
    pub(super) fn begin(
        &self,
        address: &str,
        json: &[u8],
        follower: Follower,
    ) -> Result<(HttpResponse, bool), Unfollowable> {
        let newest = self.snapshot(json)?;
        let mut pages = self.pages.lock();
        let is_first = !pages.contains_key(address);
        let page =
            pages.entry(address.to_owned()).or_insert_with(|| FollowedPage { newest, followers: Vec::new() });
        Ok((page.add(follower), is_first))
    }

    /// Tells the followers of a page what it shows, until there are none any more. What `make` makes of it is JSON, or why it can't be
    /// made any more, which is the last that they are told.
    pub(super) async fn tell<Made: Future<Output = Result<Bytes, Bytes>>>(
        &self,
        address: &str,
        may_read: impl Fn(&PageReader) -> bool,
        mut make: impl FnMut() -> Made,
    ) {
        let _ended = EndedByPanic { followers: self, address };
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // There is no need for the first one, which comes at once.
        ticks.tick().await;
        let mut due = Instant::now();
        loop {
            ticks.tick().await;
            if !self.keep_up(address, &may_read) {
                return;
            }
            let begun = Instant::now();
            if begun < due {
                continue;
            }
            let made = make().await;
            due = begun + begun.elapsed() * REST;
            let told = match made {
                Ok(json) => self.tell_newest(address, &json),
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                self.end(address, &Bytes::from(event("error", &error)));
                return;
            }
        }
    }

    /// Leaves the followers of a page that have gone, that take nothing or that may not read it any more. Returns whether any are left;
    /// otherwise the page is followed no more.
    fn keep_up(&self, address: &str, may_read: &impl Fn(&PageReader) -> bool) -> bool {
        let mut pages = self.pages.lock();
        let Some(page) = pages.get_mut(address) else { return false };
        page.followers.retain_mut(|follower| follower.keep_up() && may_read(&follower.reader));
        if page.followers.is_empty() {
            pages.remove(address);
            return false;
        }
        true
    }

    /// Tells all followers of a page what it shows now, if that is something else than before. Without memory for that, they are told
    /// later. An error is for them.
    fn tell_newest(&self, address: &str, json: &[u8]) -> Result<(), Bytes> {
        let is_known = self.pages.lock().get(address).is_none_or(|page| page.shows(json));
        if is_known {
            return Ok(());
        }
        match self.snapshot(json) {
            Ok(event) => {
                if let Some(page) = self.pages.lock().get_mut(address) {
                    page.newest = event;
                    page.followers.iter_mut().for_each(|follower| follower.send(page.newest.clone()));
                }
                Ok(())
            }
            Err(Unfollowable::NoRoom) => Ok(()),
            Err(error) => Err(serde_json::json!({ "error": error.to_string() }).to_string().into()),
        }
    }

    /// Has `event` be the last that the followers of a page are told.
    fn end(&self, address: &str, event: &Bytes) {
        if let Some(mut page) = self.pages.lock().remove(address) {
            page.followers.iter_mut().for_each(|follower| follower.send(event.clone()));
        }
    }

    /// What is told of a page that shows this JSON. It is reserved for as long as somebody has it.
    fn snapshot(&self, json: &[u8]) -> Result<Bytes, Unfollowable> {
        if json.len() > LARGEST {
            return Err(Unfollowable::TooLarge);
        }
        let event = event("snapshot", json);
        let mut room = Reservation::empty(self.budget.clone());
        if room.grow(event.len() as u64) {
            Ok(Bytes::from_owner(ReservedEvent { event, _room: room }))
        } else {
            Err(Unfollowable::NoRoom)
        }
    }
}

/// Ends the followers of a page when what tells them panics: they would wait for ever.
struct EndedByPanic<'f> {
    followers: &'f Followers,
    address: &'f str,
}

impl Drop for EndedByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.followers.pages.lock().remove(self.address);
        }
    }
}

struct ReservedEvent {
    event: Vec<u8>,
    _room: Reservation,
}

impl AsRef<[u8]> for ReservedEvent {
    fn as_ref(&self) -> &[u8] {
        &self.event
    }
}

impl FollowedPage {
    /// Adds a follower, and returns its answer, which begins with what the page shows.
    fn add(&mut self, mut follower: Follower) -> HttpResponse {
        follower.send(self.newest.clone());
        let answer = follower.answer();
        self.followers.push(follower);
        answer
    }

    fn shows(&self, json: &[u8]) -> bool {
        self.newest == event("snapshot", json)
    }
}

impl Follower {
    fn new(reader: PageReader, place: OwnedSemaphorePermit) -> Self {
        Self { reader, outbox: Arc::new(Outbox::new()), told: Instant::now(), _place: place }
    }

    /// The answer to it, for which it is there.
    fn answer(&self) -> HttpResponse {
        events(EventBody(self.outbox.clone()))
    }

    fn send(&mut self, event: Bytes) {
        self.told = Instant::now();
        self.outbox.put(event);
    }

    /// Tells it that it is not forgotten, if it is time. Returns whether it is still there and takes what it is told.
    fn keep_up(&mut self) -> bool {
        // The answer has the other one.
        let is_there = Arc::strong_count(&self.outbox) > 1;
        if self.told.elapsed() >= SILENCE {
            self.told = Instant::now();
            self.outbox.put_if_empty(STILL_HERE);
        }
        // Also without an event: the listener may stop, and the answer looks at that when it is asked for more.
        self.outbox.wake();
        is_there && self.outbox.is_read()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.outbox.end();
    }
}

impl Outbox {
    fn new() -> Self {
        Self(Mutex::new(OutboxState { event: None, since: Instant::now(), over: false, reader: None }))
    }

    /// Puts an event in, in place of one that was not taken.
    fn put(&self, event: Bytes) {
        let mut state = self.0.lock();
        if state.event.replace(event).is_none() {
            state.since = Instant::now();
        }
        state.wake();
    }

    fn put_if_empty(&self, event: Bytes) {
        if self.0.lock().event.is_none() {
            self.put(event);
        }
    }

    /// Whether what is in it has not been there for too long.
    fn is_read(&self) -> bool {
        let state = self.0.lock();
        state.event.is_none() || state.since.elapsed() < PATIENCE
    }

    fn wake(&self) {
        self.0.lock().wake();
    }

    fn end(&self) {
        let mut state = self.0.lock();
        state.over = true;
        state.wake();
    }
}

impl OutboxState {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut state = self.0.0.lock();
        if let Some(event) = state.event.take() {
            return Poll::Ready(Some(Ok(Frame::data(event))));
        }
        if state.over {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http_body_util::BodyExt as _;

    use super::*;

    const READER: PageReader =
        PageReader { entrance: AdminEntrance { loopback: true, certificates: false }, token: None };

    fn followers() -> Followers {
        Followers::new(Arc::new(Budget::new(8 << 20)))
    }

    /// The body of one more follower of `/`, which shows `json` if it is the first.
    fn body(followers: &Followers, json: &str) -> ResponseBody {
        let answer = match followers.join("/", READER) {
            Joined::Answer(answer) => answer,
            Joined::First(follower) => followers.begin("/", json.as_bytes(), follower).unwrap().0,
            Joined::Full(most) => panic!("there are {most}"),
        };
        assert_eq!(answer.headers()[CONTENT_TYPE], EVENTS);
        answer.into_body()
    }

    /// What comes next, or nothing at the end.
    async fn next(body: &mut ResponseBody) -> Option<String> {
        let Ok(frame) = body.frame().await?;
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    fn snapshot(json: &str) -> String {
        format!("event: snapshot\ndata: {json}\n\n")
    }

    #[test]
    fn events_are_sent_to_those_alone_that_name_them() {
        let wanted = |lists: &[&'static str]| {
            is_wanted(&lists.iter().map(|list| (ACCEPT, HeaderValue::from_static(list))).collect())
        };
        assert!(wanted(&["text/event-stream"]) && wanted(&["text/html", "a/b;q=1, Text/Event-Stream;q=0.5"]));
        for no in [&[][..], &["*/*"], &["text/*"], &["application/json"], &["text/event-stream;q=0"]] {
            assert!(!wanted(no), "{no:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_made_once_a_second_for_all_who_follow_it_and_told_if_it_has_changed() {
        let (followers, made) = (followers(), Cell::new(0));
        let (mut one, mut other) = (body(&followers, "0"), body(&followers, "never shown"));
        let make = || async {
            made.set(made.get() + 1);
            // It changes every third time.
            Ok(Bytes::from((made.get() / 3).to_string()))
        };
        let reading = async {
            for expected in ["0", "1", "2"] {
                assert_eq!(next(&mut one).await, Some(snapshot(expected)));
                assert_eq!(next(&mut other).await, Some(snapshot(expected)));
            }
            assert_eq!(made.get(), 6);
            drop(one);
            assert_eq!(next(&mut other).await, Some(snapshot("3")));
            drop(other);
        };
        let begun = Instant::now();
        tokio::join!(followers.tell("/", |_| true, make), reading);
        assert_eq!(made.get(), 9, "none is made once the last one has gone");
        assert_eq!(begun.elapsed(), 10 * PAUSE);
        assert!(followers.pages.lock().is_empty());
        assert_eq!((followers.places.available_permits(), followers.budget.used()), (MOST, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_takes_long_to_make_is_made_less_often() {
        let (followers, made) = (followers(), Cell::new(0));
        let mut reader = body(&followers, "0");
        let make = || async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            made.set(made.get() + 1);
            Ok(Bytes::from(made.get().to_string()))
        };
        let reading = async {
            let begun = Instant::now();
            while next(&mut reader).await != Some(snapshot("10")) {}
            assert!((45..60).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
            drop(reader);
        };
        tokio::join!(followers.tell("/", |_| true, make), reading);
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_is_not_taken_the_newest_is_kept_and_who_takes_nothing_is_left() {
        let (followers, made) = (followers(), Cell::new(0));
        let (mut slow, mut stuck) = (body(&followers, "0"), body(&followers, ""));
        let make = || async {
            made.set(made.get() + 1);
            Ok(Bytes::from(made.get().to_string()))
        };
        let reading = async {
            for expected in ["0", "6", "12"] {
                assert_eq!(next(&mut slow).await, Some(snapshot(expected)));
                tokio::time::sleep(Duration::from_millis(6400)).await;
            }
            assert_eq!(followers.pages.lock()["/"].followers.len(), 1);
            assert_eq!(followers.places.available_permits(), MOST - 1);
            let last = next(&mut stuck).await.expect("what was there when it was left");
            assert!(last.starts_with("event: snapshot\ndata: "), "{last}");
            assert_eq!(next(&mut stuck).await, None);
            drop(slow);
        };
        tokio::join!(followers.tell("/", |_| true, make), reading);
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_read_any_more_is_left_within_a_second_and_who_hears_nothing_is_told_that_all_is_well()
     {
        let (followers, may_read) = (followers(), Cell::new(true));
        let mut reader = body(&followers, "0");
        let make = || async { Ok(Bytes::from_static(b"0\n")) };
        let reading = async {
            assert_eq!(next(&mut reader).await, Some(snapshot("0")));
            let begun = Instant::now();
            for comment in 1..=3 {
                assert_eq!(next(&mut reader).await.as_deref(), Some(": still here\n\n"));
                assert_eq!(begun.elapsed(), comment * SILENCE);
            }
            may_read.set(false);
            assert_eq!(next(&mut reader).await, None);
            assert_eq!(begun.elapsed(), 3 * SILENCE + PAUSE);
        };
        tokio::join!(followers.tell("/", |_| may_read.get(), make), reading);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_can_not_be_made_any_more_or_is_too_large_ends_with_an_error() {
        for (second, expected) in [
            (Err(Bytes::from_static(b"{\"error\":\"gone\"}\n")), "{\"error\":\"gone\"}"),
            (Ok(Bytes::from(vec![b'x'; LARGEST + 1])), "{\"error\":\"this page is larger than 1024 KiB"),
        ] {
            let followers = followers();
            let mut reader = body(&followers, "0");
            let reading = async {
                assert_eq!(next(&mut reader).await, Some(snapshot("0")));
                let error = next(&mut reader).await.unwrap();
                assert!(error.starts_with(&format!("event: error\ndata: {expected}")), "{error}");
                assert_eq!(next(&mut reader).await, None);
            };
            tokio::join!(followers.tell("/", |_| true, || async { second.clone() }), reading);
            let Joined::First(follower) = followers.join("/", READER) else {
                panic!("it is followed no more")
            };
            let large = vec![b'x'; LARGEST + 1];
            let error = followers.begin("/", &large, follower).err();
            assert_eq!(error, Some(Unfollowable::TooLarge));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_is_no_memory_for_is_told_once_there_is_some() {
        let followers = followers();
        let mut reader = body(&followers, "0");
        let make = || async { Ok(Bytes::from_static(b"1")) };
        let reading = async {
            assert_eq!(next(&mut reader).await, Some(snapshot("0")));
            let budget = followers.budget.clone();
            let rest = budget.limit() - budget.used();
            assert!(budget.reserve(rest));
            let begun = Instant::now();
            assert!(tokio::time::timeout(5 * PAUSE, next(&mut reader)).await.is_err());
            budget.release(rest);
            assert_eq!(next(&mut reader).await, Some(snapshot("1")));
            assert!(begun.elapsed() <= 6 * PAUSE);
            drop(reader);
        };
        tokio::join!(followers.tell("/", |_| true, make), reading);
    }

    #[tokio::test]
    async fn there_is_no_place_for_more_than_so_many() {
        let followers = followers();
        let bodies: Vec<_> = (0..MOST).map(|_| body(&followers, "0")).collect();
        assert!(matches!(followers.join("/", READER), Joined::Full(MOST)));
        assert_eq!(bodies.len(), MOST);
    }
}
