// What a page shows is what the server has said last, figure by figure, while records pass.
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { api, eventually, finish, open, shown as ready, visit } from "./browser.mjs";

const page = await open();
const SIGNALS = ["traces", "metrics", "logs"];
const ENDS = ["rejected", "dead_lettered", "dropped", "refused", "unrouted"];

/** The raw figures of what a selector finds, and the answer that has `member`, at one moment; `said` is where answers of its kind are kept. */
const moment = (selector, member, said) => page.evaluate(([selector, member, said]) => new Promise((resolve) => {
  // What was said before this frame has been drawn by the next but one.
  requestAnimationFrame(() => requestAnimationFrame(() => resolve({
    said: window[said].get(member),
    shown: [...document.querySelectorAll(selector)].map((element) => [...element.querySelectorAll("data")].map((data) => Number(data.value))),
  })));
}), [selector, member, said]);

/** Compares several moments in a row, between which the page must have followed; of a long table only what is seen is there. */
async function equal(what, selector, member, expected, { of = "said", moments = 4 } = {}) {
  const seen = new Set();
  await eventually(`${what} is followed`, async () => {
    const before = await page.evaluate(([member, of]) => JSON.stringify(window[of].get(member)), [member, of]);
    const { said, shown } = await moment(selector, member, of);
    // An answer in between would be drawn only later.
    if (before !== JSON.stringify(said) || !said) return false;
    assert.ok(shown.length > 0, `${what} are shown`);
    assert.deepEqual(shown, expected(said).slice(0, shown.length), what);
    seen.add(before);
    return seen.size >= moments;
  });
}

const sum = (part, field) => SIGNALS.reduce((sum, signal) => sum + (part[signal][field] ?? 0), 0);

await visit(page, "/");
await equal("the headline", ".headline", "flow", ({ rates, totals }) => {
  const lost = ENDS.map((end) => totals.not_delivered[end]);
  return [[
    sum(rates.received, "records"), sum(rates.received, "bytes"), sum(rates.received, "requests"),
    sum(rates.exported, "records"), sum(totals.exported, "records"),
    lost.reduce((all, one) => all + one, 0), ...lost.filter((one) => one > 0),
    totals.pending.records, totals.pending.bytes, totals.pending.streams,
  ]];
});
await equal("the signals", "[aria-labelledby=signals] tbody tr", "flow", ({ rates, totals }) => {
  const row = (of) => [
    of(rates.received, "requests"), of(rates.received, "records"), of(rates.received, "bytes"), of(rates.exported, "records"),
    of(totals.received, "records"), of(totals.exported, "records"),
  ];
  return [...SIGNALS.map((signal) => row((part, field) => part[signal][field])), row(sum)];
});

await visit(page, "/streams?sort=key");
const row = (stream) => [
  stream.pending_bytes,
  ...(stream.oldest_pending_seconds === null ? [] : [stream.oldest_pending_seconds]),
  stream.delivered_records,
  stream.failed_attempts,
];
await equal("the streams", ".rows tbody tr:not(.gap)", "streams", ({ streams }) => streams.map(row));

await visit(page, "/exporters/otlp_http%2Fwell");
await equal("an exporter's records", "[aria-labelledby=records] tbody tr", "destinations", ({ records }) =>
  SIGNALS.map((signal) => ["routed", "delivered", "rejected", "dead_lettered", "dropped"].map((end) => records[signal][end])));

const ATTEMPTS = "[aria-labelledby=attempts] tbody tr";
const made = (attempts) => attempts.map(({ millis, bytes, records }) => [millis / 1000, bytes, records]);
await equal("an exporter's last attempts", ATTEMPTS, "last_attempts", (said) => made(said.last_attempts));
await page.locator(ATTEMPTS).first().locator("td a").first().click();
await page.waitForURL(/streams\/one/);
await ready(page);
// Those of a healthy stream are kept from now on.
await page.waitForSelector(ATTEMPTS);
await equal("those of the stream behind one of them", ATTEMPTS, "live", (said) => made(said.attempts));

await visit(page, "/tenants/acme");
await equal("a tenant's records", "[aria-labelledby=records] tbody tr", "signals", ({ signals }) =>
  Object.values(signals).map(({ received, records }) => [
    received.bytes, received.records.accepted, received.records.refused,
    records.routed, records.delivered, records.rejected, records.dead_lettered, records.dropped,
  ]));
await equal("a tenant's last attempts", ATTEMPTS, "last_attempts", (said) => made(said.last_attempts));

/** What stands beside the charts is what the last step came to, in two steps. */
const charts = (what) => equal(what, ".charts .chart", "series", ({ series }) => [
  [series.exported_records.at(-1), series.not_delivered_records.at(-1)], [series.pending_bytes.at(-1)], [series.failed_attempts.at(-1)],
], { of: "read", moments: 2 });

await charts("a tenant's charts");
const [stream] = (await api("/api/v1/streams?exporter=otlp_http/well&tenant=acme&key=of-python&signal=logs")).streams;
await visit(page, `/streams/one?${new URLSearchParams({ exporter: stream.exporter, signal: stream.signal, tenant: stream.tenant, key: stream.key })}`);
await charts("a stream's charts");
await visit(page, "/exporters/otlp_http%2Fwell");
await charts("an exporter's charts");

// What does not change any more is the same on the page as for who asks the API now.
await visit(page, "/dead-letters");
const { letters, total } = await api("/api/v1/dead-letters");
assert.match(await page.locator(".table-said").textContent(), new RegExp(`^${total} dead letter`));
const shown = await page.locator(".rows tbody tr:not(.gap)").evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("data")].map((data) => Number(data.value))));
assert.deepEqual(shown, letters.slice(0, shown.length).map((letter) => [letter.records, letter.bytes]));

const refusing = "/exporters/otlp_http%2Frefusing";
await visit(page, refusing);
const refused = await eventually("every attempt is shown with its stream", async () => {
  const { last_attempts: said } = await api(`/api/v1${refusing}`);
  const shown = await page.locator(ATTEMPTS).evaluateAll((rows) => rows.map((row) => [...row.cells].slice(1, 5).map((cell) => cell.textContent)));
  // An attempt in between is shown a little later.
  return isDeepStrictEqual(shown, said.map(({ stream, code }) => [stream.key, stream.tenant, stream.signal, code])) && said;
});
assert.ok(refused.length >= 9, "every stream was refused once");

await finish();
