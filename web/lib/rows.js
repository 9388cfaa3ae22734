// The rows of a list that the server sorts and pages, of which a table shows a few dozen at a time.
//
// Only what is seen is read, and some rows around it. A page that goes on where another ends begins behind the cursor of that one,
// so that no row is left out or comes twice when others come and go. A page that is elsewhere begins so many rows behind the start.
// The rows of pages near what is seen are kept, of the others only where they begin; the page in the middle of what is seen is
// followed, the others stay as they were read.
import { follow, get } from "./api.js";
import { report } from "./live.js";
import { address } from "./router.js";

/** Rows of a page that goes on where another ends, and the most of one that is elsewhere. */
const PAGE = 200;
const LONG_PAGE = 1000;
/** Rows that are read ahead of what is seen, and those beyond which they are forgotten. */
const AHEAD = 150;
const KEPT = 4000;

export class Rows {
  /** `pick` takes the rows out of an answer; `changed` is called after each change. */
  constructor(path, query, pick, changed) {
    this.path = path;
    this.query = query;
    this.pick = pick;
    this.changed = changed;
    // In their order: where each starts and the most rows that it may have (`limit`); behind which page it goes on, with the cursor, or
    // neither; and once it was read, how many rows it has, its rows if they are kept, and the cursor of what comes next.
    this.pages = [];
    // Rows that the server has found, nothing until the first answer; and whether there may be more.
    this.total = null;
    this.isExact = true;
    // Where the list has ended, and what the server had found then.
    this.last = null;
    this.error = null;
    // The last answer, for what it says beside its rows.
    this.answer = null;
    // The first and the last row that are seen.
    this.seen = [0, 0];
    this.followed = null;
    this.stopFollowing = () => {};
    // Runs until scrolling has paused.
    this.settling = null;
    // Whether a page is being read: one is at a time.
    this.reading = false;
    this.ended = false;
    this.begin();
  }

  begin() {
    this.pages = [newPage(0, PAGE)];
    this.last = null;
    this.followPage(this.pages[0]);
  }

  end() {
    this.ended = true;
    clearTimeout(this.settling);
    this.stopFollowing();
    report(this, null);
  }

  /** Rows that a scrollbar stands for: behind the last page there is none. */
  get length() {
    return this.isComplete ? this.last.end : Math.max(this.total ?? 0, endOf(this.pages.at(-1)));
  }

  /** Whether the last page was read. */
  get isComplete() {
    return this.last !== null && this.last.total === this.total;
  }

  /** How many rows there are: `count` of them, or more if that is not `exact`. */
  get found() {
    if (this.isExact) return { count: this.total ?? 0, exact: true };
    return { count: this.length, exact: this.isComplete };
  }

  row(index) {
    const page = this.pageOf(index);
    return page?.rows?.[index - page.start] ?? null;
  }

  /** Says which rows are seen now. */
  see(first, last) {
    if (this.ended) return;
    this.seen = [first, last];
    for (const page of this.pages) {
      if (page.start > last + KEPT || endOf(page) < first - KEPT) page.rows = null;
    }
    clearTimeout(this.settling);
    this.settling = null;
    this.settle();
    this.fill();
  }

  /** Follows what is seen once scrolling has paused. */
  settle() {
    this.settling ??= setTimeout(() => {
      this.settling = null;
      const middle = this.pageOf((this.seen[0] + this.seen[1]) >> 1);
      if (middle && middle !== this.followed) this.followPage(middle);
    }, 200);
  }

  /** The page that holds a row, if that was read. */
  pageOf(index) {
    let [low, high] = [0, this.pages.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const page = this.pages[middle];
      if (index < page.start) high = middle - 1;
      else if (index >= endOf(page)) low = middle + 1;
      else return page;
    }
    return null;
  }

  followPage(page) {
    this.stopFollowing();
    this.followed = page;
    this.stopFollowing = follow(this.address(page), {
      event: (name, answer) => name === "snapshot" && this.take(page, answer),
      state: (state, error) => {
        // A page too large to be followed stays as it was read.
        const isRead = state === "live" || error?.status === 422;
        this.error = isRead ? null : error;
        report(this, state);
        if (error?.status === 401) dispatchEvent(new Event("tokenwanted"));
        this.changed();
      },
    });
  }

  address({ start, limit, after }) {
    const skip = after === null && start > 0 ? start : null;
    return address(this.path, { ...this.query, limit, after, skip });
  }

  /** Keeps what the server has answered to the question for a page. */
  take(page, answer) {
    // The list may have begun anew, or have become shorter, since this page was asked for.
    if (this.ended || !this.pages.includes(page)) return;
    page.rows = this.pick(answer);
    page.count = page.rows.length;
    page.next = answer.next ?? null;
    this.total = answer.matching ?? answer.total ?? this.total ?? endOf(page);
    this.isExact = answer.matching_is_exact ?? true;
    this.answer = answer;
    let at = this.pages.indexOf(page);
    if (page.next === null) {
      // A page may have been asked for that was to begin behind the end.
      const known = at > 0 ? endOf(this.pages[at - 1]) : 0;
      this.last = { total: this.total, end: page.count > 0 ? endOf(page) : Math.min(page.start, Math.max(known, this.total)) };
      // A page behind the end is dropped, and the page before it is the last one, so that nobody asks for it again.
      const isBehind = page.count === 0 && at > 0;
      if (isBehind) this.pages[at - 1].next = null;
      this.pages.length = isBehind ? at : at + 1;
    }
    // What goes on behind a page begins where that one ends now.
    for (at += 1; at < this.pages.length && this.pages[at].behind === this.pages[at - 1]; at += 1) {
      const before = this.pages[at - 1];
      if (before === page) this.pages[at].after = page.next;
      this.pages[at].start = endOf(before);
    }
    this.pages.sort((one, other) => one.start - other.start);
    this.settle();
    this.changed();
    this.fill();
  }

  /** Reads what is missing of what is seen, one page at a time. */
  async fill() {
    if (this.reading || this.ended) return;
    const page = this.missing();
    if (!page) return;
    const { pages } = this;
    this.reading = true;
    try {
      const answer = await get(this.address(page));
      this.reading = false;
      // The list may have begun anew meanwhile.
      if (pages !== this.pages) return void this.fill();
      if (!pages.includes(page)) {
        pages.push(page);
        pages.sort((one, other) => one.start - other.start);
      }
      this.take(page, answer);
    } catch (error) {
      this.reading = false;
      // A cursor may have gone; the list begins anew.
      if (error.status === 400) this.begin();
      else this.error = error;
      this.changed();
    }
  }

  /** The first page that is missing of what is seen and what is around that. */
  missing() {
    if (this.total === null) return null;
    for (let index = Math.max(0, this.seen[0] - AHEAD); index < this.seen[1] + AHEAD; ) {
      const page = this.pageOf(index);
      if (!page) return this.pageFor(index);
      if (!page.rows) return page;
      index = endOf(page);
    }
    return null;
  }

  /** A page with the row `index`, which is in none, if the list has it. */
  pageFor(index) {
    const behind = this.pages.findIndex((page) => page.start > index);
    const before = this.pages[behind < 0 ? this.pages.length - 1 : behind - 1];
    const known = before ? endOf(before) : 0;
    const until = behind < 0 ? Infinity : this.pages[behind].start;
    // Scrolling has come here row by row.
    if (before?.next && index - known < AHEAD) return newPage(known, Math.min(PAGE, until - known), before);
    if (index >= this.length) return null;
    // Upwards, not the few rows that have come in sight alone.
    const start = until - index < PAGE ? Math.max(known, until - PAGE) : index;
    const limit = Math.max(PAGE, this.seen[1] + AHEAD - start);
    return newPage(start, Math.min(LONG_PAGE, until - start, limit));
  }
}

function newPage(start, limit, behind = null) {
  return { start, limit, behind, after: behind?.next ?? null, count: 0, rows: null, next: null };
}

const endOf = (page) => page.start + page.count;
