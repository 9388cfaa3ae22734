// The rows of a list that the server sorts and pages, of which a table shows a few dozen at a time.
//
// A page begins behind a cursor that the page before has given. Pages near what is seen are kept, of the others only where
// they begin; the page in the middle of what is seen is followed, the others stay as they were read.
import { follow, get } from "./api.js";
import { report } from "./live.js";
import { address } from "./router.js";

/** Rows of a page; and of one that is passed over on the way to a place far down. */
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
    // Each: where it starts, how many rows it has, behind which cursor it is and which is behind it, and its rows if they are kept.
    this.pages = [];
    // Rows that the server has found, nothing until the first answer; and whether there may be more.
    this.total = null;
    this.isExact = true;
    this.error = null;
    // The last answer, for what it says beside its rows.
    this.answer = null;
    // The first and the last row that are seen.
    this.seen = [0, 0];
    this.followed = -1;
    this.stopFollowing = () => {};
    // Runs until scrolling has paused.
    this.settling = null;
    // Whether a page is being read: one is at a time.
    this.reading = false;
    this.ended = false;
    this.followPage(0);
  }

  end() {
    this.ended = true;
    clearTimeout(this.settling);
    this.stopFollowing();
    report(this, null);
  }

  /** Rows that a scrollbar stands for: behind the last page there is none. */
  get length() {
    return this.isComplete ? this.known : Math.max(this.total ?? 0, this.known);
  }

  /** Whether the last page was read. */
  get isComplete() {
    return this.pages.length > 0 && this.pages.at(-1).next === null;
  }

  /** How many rows there are: `count` of them, or more if that is not `exact`. */
  get found() {
    if (this.isExact) return { count: this.total ?? 0, exact: true };
    return this.isComplete ? { count: this.known, exact: true } : { count: this.length, exact: false };
  }

  /** Rows of all pages that were read. */
  get known() {
    const last = this.pages.at(-1);
    return last ? last.start + last.count : 0;
  }

  row(index) {
    const page = this.pages[this.pageOf(index)];
    return page?.rows?.[index - page.start] ?? null;
  }

  /** Says which rows are seen now. */
  see(first, last) {
    if (this.ended) return;
    this.seen = [first, last];
    for (const page of this.pages) {
      if (page.start > last + KEPT || page.start + page.count < first - KEPT) page.rows = null;
    }
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      const middle = this.pageOf((first + last) >> 1);
      if (middle >= 0 && middle !== this.followed) this.followPage(middle);
    }, 200);
    this.fill();
  }

  /** The page that holds a row; -1 for one that was not read yet. */
  pageOf(index) {
    let [low, high] = [0, this.pages.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const page = this.pages[middle];
      if (index < page.start) high = middle - 1;
      else if (index >= page.start + page.count) low = middle + 1;
      else return middle;
    }
    return -1;
  }

  followPage(number) {
    this.stopFollowing();
    this.followed = number;
    const page = this.pages[number];
    const limit = Math.max(page?.limit ?? PAGE, PAGE);
    const after = page?.after ?? null;
    this.stopFollowing = follow(this.address(after, limit), {
      event: (name, answer) => name === "snapshot" && this.take(number, answer, after, limit),
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

  address(after, limit) {
    return address(this.path, { ...this.query, limit, after });
  }

  /** Keeps what the server has answered to the question for the page `number`, which begins behind the cursor `after`. */
  take(number, answer, after, limit) {
    // The list may have begun anew, or have become shorter, since this page was asked for.
    if (this.ended || number > this.pages.length) return;
    const rows = this.pick(answer);
    const before = this.pages[number];
    // The page before may have been read again since, and then says better where this one begins.
    this.pages[number] = { start: 0, count: rows.length, after: before ? before.after : after, limit, rows, next: answer.next ?? null };
    if (answer.next == null) this.pages.length = number + 1;
    else if (this.pages[number + 1]) this.pages[number + 1].after = answer.next;
    let start = 0;
    for (const page of this.pages) {
      page.start = start;
      start += page.count;
    }
    this.total = answer.matching ?? answer.total ?? this.total ?? start;
    this.isExact = answer.matching_is_exact ?? true;
    this.answer = answer;
    this.changed();
    this.fill();
  }

  /** Reads what is missing of what is seen, one page at a time. */
  async fill() {
    if (this.reading || this.ended || this.pages.length === 0) return;
    const missing = this.missing();
    if (!missing) return;
    this.reading = true;
    try {
      const answer = await get(this.address(missing.after, missing.limit));
      this.reading = false;
      this.take(missing.number, answer, missing.after, missing.limit);
    } catch (error) {
      this.reading = false;
      // A cursor may have gone; the list begins anew.
      if (error.status === 400) this.begin();
      else this.error = error;
      this.changed();
    }
  }

  begin() {
    this.pages = [];
    this.followPage(0);
  }

  missing() {
    const [first, last] = [Math.max(0, this.seen[0] - AHEAD), this.seen[1] + AHEAD];
    const lost = this.pages.findIndex((page) => !page.rows && page.start <= last && page.start + page.count > first);
    if (lost >= 0) return { number: lost, after: this.pages[lost].after, limit: this.pages[lost].limit };
    const end = this.pages.at(-1);
    if (end.next === null || this.known > last) return null;
    const limit = last - this.known > LONG_PAGE ? LONG_PAGE : PAGE;
    return { number: this.pages.length, after: end.next, limit };
  }
}
