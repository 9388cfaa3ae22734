// What a page shows is what the server has said last, figure by figure, while records pass.
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import * as format from "../../../web/lib/format.js";
import { api, eventually, finish, open, shown as ready, visit } from "./browser.mjs";

const page = await open();
const SIGNALS = ["traces", "metrics", "logs"];
const ENDS = ["rejected", "dead_lettered", "dropped", "refused", "unrouted"];

/**
 * What is shown where a selector finds something, and the answer that has `member`, at one moment; `said` is where answers of its kind are
 * kept. Shown are the raw `figures` of each place, its `text`, the text of its `cells`, of the `flow` but for the state, or what
 * a `meter` says to who can't see it.
 */
const moment = (selector, member, said, as) => page.evaluate(([selector, member, said, as]) => new Promise((resolve) => {
  const read = {
    figures: (element) => [...element.querySelectorAll("data")].map((data) => Number(data.value)),
    text: (element) => element.textContent,
    cells: (element) => [...element.cells].map((cell) => cell.textContent),
    meter: ({ ariaLabel, ariaValueNow, ariaValueMax, ariaValueText }) => [ariaLabel, Number(ariaValueNow), Number(ariaValueMax), ariaValueText],
    flow: (element) => [...element.cells].filter((_, at) => at !== 2).map((cell) => cell.textContent),
  }[as];
  // What was said before this frame has been drawn by the next but one.
  requestAnimationFrame(() => requestAnimationFrame(() => resolve({
    said: window[said].get(member),
    shown: [...document.querySelectorAll(selector)].map(read),
  })));
}), [selector, member, said, as]);

/** Compares several moments in a row, between which the page must have followed; of a long table only what is seen is there. */
async function equal(what, selector, member, expected, { of = "said", moments = 4, as = "figures" } = {}) {
  const seen = new Set();
  await eventually(`${what} is followed`, async () => {
    const before = await page.evaluate(([member, of]) => JSON.stringify(window[of].get(member)), [member, of]);
    const { said, shown } = await moment(selector, member, of, as);
    // An answer in between would be drawn only later.
    if (before !== JSON.stringify(said) || !said) return false;
    assert.ok(shown.length > 0, `${what} are shown`);
    assert.deepEqual(shown, expected(said).slice(0, shown.length), what);
    seen.add(before);
    return seen.size >= moments;
  });
}

/** The figures that there are: what is not known has none. */
const known = (...values) => values.filter((value) => typeof value === "number");
/** What does not change while it is looked at, or is no figure. */
const once = { moments: 1 };
const texts = { moments: 1, as: "text" };
const cells = { moments: 1, as: "cells" };
/** A sentence of the API without the signs that mark its names. */
const plain = (text) => text.replaceAll("`", "");

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

await equal("the room", "[aria-labelledby=room] .meters > *", "flow", ({ memory, journal, streams, dead_letters: letters, tenants }) => [
  known(memory.used, memory.limit),
  ...(journal ? [known(journal.bytes, journal.limit)] : []),
  known(streams.live, streams.limit),
  ...(letters ? [[letters.bytes, letters.max_size, ...(letters.files > 0 ? [letters.files] : [])]] : []),
  ...(tenants ? [[tenants.count, ...(tenants.problems > 0 ? [tenants.problems] : [])]] : []),
]);
const meter = (label, used, limit, as) => [label, Math.min(used, limit), limit, `${as(used)} of ${as(limit)}, ${format.percent(used, limit)}`];
await equal("the room as it is said", "[aria-labelledby=room] [role=meter]", "flow", ({ memory, journal, streams, dead_letters: letters }) => [
  meter("Memory", memory.used, memory.limit, format.bytes),
  ...(journal ? [meter("Journal", journal.bytes, journal.limit, format.bytes)] : []),
  meter("Streams", streams.live, streams.limit, format.count),
  ...(letters ? [meter("Dead letters", letters.bytes, letters.max_size, format.bytes)] : []),
], { as: "meter" });
await equal("what needs attention", ".attention-text", "flow", ({ attention }) => attention.map(({ severity, text }) => `${severity}: ${plain(text)}`), { as: "text" });
await equal("how much needs attention", ".attention .card-head .note", "flow", ({ attention, attention_total: total }) => [format.plural(total ?? attention.length, "item")], texts);
const nameIn = ({ nodes }, id) => nodes.find((node) => node.id === id).name;
await equal("the flow as a table", ".flow-table tbody tr", "flow", ({ flow }) => flow.edges.map((edge) => [
  nameIn(flow, edge.from), nameIn(flow, edge.to), format.perSecond(edge.records_per_second ?? 0), format.bytesPerSecond(edge.bytes_per_second ?? 0),
]), { as: "flow" });
await equal("the flow as a picture", ".flow-rate", "flow", ({ flow }) => ["receiver", "route", "exporter"].flatMap((kind) =>
  flow.nodes.filter((node) => node.kind === kind).map(({ id }) => {
    const edges = flow.edges.filter((edge) => (kind === "receiver" ? edge.from : edge.to) === id);
    const all = (field) => edges.reduce((all, edge) => all + (edge[field] ?? 0), 0);
    return `${format.perSecond(all("records_per_second"))} · ${format.bytesPerSecond(all("bytes_per_second"))}`;
  })), { as: "text" });
await equal("the overview's charts", ".charts .chart", "series", ({ series }) => [
  known(series.received_records.at(-1), series.exported_records.at(-1), series.not_delivered_records.at(-1)),
  ...["received_bytes", "pending_bytes", "failed_attempts", "memory_bytes"].map((name) => known(series[name].at(-1))),
], { of: "read", moments: 2 });

await visit(page, "/streams?sort=key");
const row = (stream) => [
  stream.pending_bytes,
  ...(stream.oldest_pending_seconds === null ? [] : [stream.oldest_pending_seconds]),
  stream.delivered_records,
  stream.failed_attempts,
];
await equal("the streams", ".rows tbody tr:not(.gap)", "streams", ({ streams }) => streams.map(row));

// How many there are, with filters and without.
for (const [path, member, noun, queries] of [
  ["/streams", "streams", "stream", ["", "?tenant=acme", "?key=of-python&signal=logs", "?exporter=otlp_http/refusing&state=held", "?key=nothing-has-this"]],
  ["/tenants", "tenants", "tenant", ["", "?state=failing", "?q=acme", "?q=nobody"]],
  ["/exporters", "exporters", "exporter", ["", "?q=well", "?q=nobody"]],
]) {
  for (const query of queries) {
    await visit(page, path + query);
    await equal(`how many ${noun}s there are by ${query}`, ".table-said", member, ({ total }) => [format.plural(total, noun)], texts);
    const { total } = await api(`/api/v1${path}${query}`);
    await eventually(`those of ${path}${query} are as many as the API says, and as many as rows`, async () => {
      const rows = await page.locator(".rows tbody tr:not(.gap)").count();
      return (await page.locator(".table-said").textContent()) === format.plural(total, noun) && rows === Math.min(rows || total, total);
    });
    assert.equal(await page.locator(".rows tbody tr.waiting").count(), 0, `${path}${query}: no row is waited for`);
    assert.equal(await page.locator(".empty").count(), total === 0 ? 1 : 0, `${path}${query}: whether there is none is said`);
  }
}
const recordsOf = ({ records }, ...ends) => SIGNALS.reduce((all, signal) => all + ends.reduce((part, end) => part + (records[signal]?.[end] ?? 0), 0), 0);
await visit(page, "/exporters");
await equal("the exporters", ".rows tbody tr:not(.gap)", "exporters", ({ exporters }) => exporters.map((exporter) => known(
  exporter.streams, exporter.failing_streams, exporter.pending_bytes, exporter.oldest_pending_seconds,
  recordsOf(exporter, "delivered"), recordsOf(exporter, "rejected", "dead_lettered", "dropped"),
)));
await visit(page, "/tenants");
await equal("the tenants", ".rows tbody tr:not(.gap)", "tenants", ({ tenants }) => tenants.map((tenant) => known(
  tenant.bytes_per_second, tenant.received.records.accepted, tenant.records.delivered, tenant.pending_bytes, tenant.oldest_pending_seconds, tenant.streams,
)));

const now = (exporter) => [
  [], [exporter.streams], [exporter.failing_streams], [exporter.held_streams], [exporter.held_tenants],
  [exporter.pending_records, exporter.pending_bytes], known(exporter.oldest_pending_seconds),
];
const answers = ({ attempts }) => Object.entries(attempts).filter(([, times]) => times > 0).sort((a, b) => b[1] - a[1]).map(([code, times]) => [code, format.exact(times)]);
const destinations = ({ destinations: { shown } }) => shown.map((one) => [
  one.origin, format.words(one.circuit), one.failure ?? "", format.duration(one.open_seconds), format.duration(one.next_probe_seconds),
]);
for (const [name, moments] of [["refusing", 1], ["picky", 1], ["well", 4]]) {
  await visit(page, `/exporters/otlp_http%2F${name}`);
  await equal(`what ${name} does now`, "[aria-labelledby=now] .facts > div", "destinations", now, { moments });
  await equal(`the answers of ${name}`, "[aria-labelledby=answers] tbody tr", "destinations", answers, { moments, as: "cells" });
  await equal(`the destinations of ${name}`, "[aria-labelledby=destinations] tbody tr", "destinations", destinations, cells);
}
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
await equal("a stream's queue", "[aria-labelledby=queue] .facts > div", "live", (stream) => [
  [stream.pending_bytes], [stream.waiting_batches, stream.in_flight], known(stream.oldest_pending_seconds), [stream.failed_attempts], [],
]);
await equal("a stream's records", "[aria-labelledby=records] .facts > div", "live", (stream) => [
  [stream.admitted_entries], ...["delivered", "rejected", "dead_lettered", "dropped"].map((end) => [stream[`${end}_records`]]),
]);

await visit(page, "/tenants/acme");
await equal("a tenant's records", "[aria-labelledby=records] tbody tr", "signals", ({ signals }) =>
  Object.values(signals).map(({ received, records }) => [
    received.bytes, received.records.accepted, received.records.refused,
    records.routed, records.delivered, records.rejected, records.dead_lettered, records.dropped,
  ]));
await equal("what a tenant does now", "[aria-labelledby=now] .facts > div:nth-child(-n+5)", "signals", (tenant) => [
  [tenant.bytes_per_second], [tenant.pending_records, tenant.pending_bytes], known(tenant.oldest_pending_seconds),
  [tenant.streams, tenant.failing_streams], [tenant.received.refused_requests],
]);
await equal("what a tenant uses", "[aria-labelledby=limits] .facts > div", "signals", ({ limits }) =>
  Object.values(limits).filter(({ limit, used }) => limit === null && used > 0).map(({ used }) => [used]));
await equal("a tenant's streams", "[aria-labelledby=streams] tbody tr", "signals", (tenant) =>
  tenant.live_streams.map((stream) => known(stream.pending_bytes, stream.oldest_pending_seconds)));
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

// Watches.
await visit(page, "/watches");
const firing = ({ watches }) => watches.flatMap((watch) => watch.firing);
await equal("the watches", "[aria-labelledby=watches] tbody tr", "watches", ({ watches }) => watches.map((watch) => [watch.records]), { moments: 2 });
await equal("what fires", "[aria-labelledby=firing] tbody tr", "watches", (said) => firing(said).map((one) => [one.records]), { moments: 2 });
await equal("how many fire", ".page-head .state", "watches", ({ watches }) => [`${watches.filter((watch) => watch.state === "firing").length} firing`], texts);

// What does not change any more is the same on the page as for who asks the API now.
for (const query of ["", "tenant=acme", "tenant=acme&signal=logs", "signal=traces", "tenant=nobody"]) {
  await visit(page, `/dead-letters?${query}`);
  const { letters, total, matching, bytes, max_size: most } = await api(`/api/v1/dead-letters?${query}`);
  const found = matching < total ? `${matching} of ${format.plural(total, "dead letter")}` : format.plural(total, "dead letter");
  await equal(`how many dead letters there are by ${query}`, ".table-said", "letters", () => [found], texts);
  const labels = ["Replay", "Delete"].map((verb) => (matching === 0 ? verb : query ? `${verb} ${matching} found` : `${verb} all ${matching}`));
  await equal(`the buttons by ${query}`, ".page-actions button", "letters", () => labels, texts);
  await equal(`the directory by ${query}`, "main > .note", "letters", () => [[bytes, most]], once);
  const shown = await page.locator(".rows tbody tr:not(.gap)").evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("data")].map((data) => Number(data.value))));
  assert.deepEqual(shown, letters.map((letter) => [letter.records, letter.bytes]));
}
const [letter] = (await api("/api/v1/dead-letters")).letters;
await visit(page, `/dead-letters/${encodeURIComponent(letter.file)}`);
const inside = await page.locator("[aria-labelledby=note] data").evaluateAll((all) => all.map((data) => Number(data.value)));
assert.deepEqual(inside, [letter.records, letter.bytes]);

// The tap counts what it shows.
await visit(page, "/tap?query=tenant:acme");
await eventually("logs pass", async () => (await page.locator(".tap-logs tbody tr").count()) > 3);
await page.getByRole("button", { name: "Pause" }).click();
await page.waitForURL(/run=no/);
await eventually("as many are shown as are counted", async () => {
  const counted = await page.locator(".tap-bar .choice button", { hasText: "Logs" }).locator(".number").textContent();
  return counted === format.count(await page.locator(".tap-logs tbody tr").count());
});

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
