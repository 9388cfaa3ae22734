// Metrics of several sources, each drawn by itself; watches that fire; and the tap of streams with long keys.
import assert from "node:assert/strict";
import { api, eventually, facts, finish, open, shown, visit } from "./browser.mjs";

const attribute = (key, stringValue) => ({ key, value: { stringValue } });
const attributes = (all) => Object.entries(all).map(([key, value]) => attribute(key, value));

async function send(signal, body) {
  const answer = await fetch(`${facts.otlp}/v1/${signal}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.clone().text());
  assert.ok(!/[Rr]ejected|error/.test(await answer.text()), "all of it is taken");
}

const log = (resource, ...texts) => send("logs", {
  resourceLogs: [{ resource: { attributes: attributes(resource) }, scopeLogs: [{ logRecords: texts.map((text) => ({ body: { stringValue: text } })) }] }],
});

/** Two pods of one service, and a pod of the same name that another tenant has. */
const SOURCES = [
  { of: { "tenant.id": "acme", "service.name": "api", "k8s.pod.name": "pod-1" }, base: 100, mean: 0.25 },
  { of: { "tenant.id": "acme", "service.name": "api", "k8s.pod.name": "pod-2" }, base: 1100, mean: 0.5 },
  { of: { "tenant.id": "globex", "service.name": "api", "k8s.pod.name": "pod-1" }, base: 0.001, mean: 40 },
];
const LONG = "x".repeat(200);
const DELTA = 1;
const CUMULATIVE = 2;
const TYPES = ["queue", "latency", "size", "pauses", "unsummed", LONG];

/** A round of points, in which every distribution has ten values more. */
function metrics(round) {
  const timeUnixNano = String((BigInt(Date.now()) + BigInt(round) * 1000n) * 1_000_000n);
  return {
    resourceMetrics: SOURCES.map(({ of, base, mean }) => {
      const point = (more) => [{ timeUnixNano, startTimeUnixNano: "1", ...more }];
      const count = String(10 * round);
      const sum = 10 * round * mean;
      const metrics = [
        { name: "queue", gauge: { dataPoints: point({ asDouble: base + round, attributes: attributes({ disk: LONG }) }) } },
        { name: "latency", unit: "s", histogram: { aggregationTemporality: CUMULATIVE, dataPoints: point({ count, sum, bucketCounts: [count], explicitBounds: [] }) } },
        { name: "size", exponentialHistogram: { aggregationTemporality: DELTA, dataPoints: point({ count: "10", sum: 10 * mean * round, scale: 0, zeroCount: "10" }) } },
        { name: "pauses", summary: { dataPoints: point({ count, sum }) } },
        { name: "unsummed", histogram: { aggregationTemporality: CUMULATIVE, dataPoints: point({ count, bucketCounts: [count], explicitBounds: [] }) } },
        { name: LONG, gauge: { dataPoints: point({ asDouble: "NaN" }) } },
      ];
      return { resource: { attributes: attributes({ "s2.stream": "api", ...of }) }, scopeMetrics: [{ metrics }] };
    }),
  };
}

const PROBE = {
  resourceMetrics: [{ resource: { attributes: attributes({ "s2.stream": "api", "tenant.id": "acme" }) }, scopeMetrics: [{ metrics: [{ name: "probe", gauge: { dataPoints: [{ asInt: "1" }] } }] }] }],
};

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** The cards of metrics: what they say, how their lines are called, and what runs over. */
const cardsOf = (page) => page.locator(".metric").evaluateAll((cards) => cards.map((card) => {
  const right = card.getBoundingClientRect().right;
  return {
    name: card.querySelector("b").textContent,
    from: card.querySelector(".metric-head + .note").textContent,
    now: card.querySelector(".big").textContent,
    line: card.querySelector(".sparkline").getAttribute("aria-label"),
    text: card.textContent,
    over: [...card.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > right).map((element) => element.outerHTML),
    scrolls: card.scrollWidth - card.clientWidth,
  };
}));

for (const viewport of [{ width: 1280, height: 800 }, { width: 360, height: 740 }]) {
  const page = await open({ viewport });
  await visit(page, "/tap?query=signal:metrics&view=metrics");
  // A tap that is being opened would not see all rounds, and one shows a hundred records in a second.
  await eventually("the tap is open", async () => {
    await send("metrics", PROBE);
    return (await page.locator(".metric").count()) > 0;
  });
  await pause(1100);
  for (let round = 1; round <= 5; round += 1) {
    await send("metrics", metrics(round));
    await pause(250);
  }
  const cards = await eventually("a card for each series, with all of its points", async () => {
    const cards = (await cardsOf(page)).filter(({ name }) => name !== "probe");
    return cards.length === SOURCES.length * TYPES.length && cards.filter(({ name, line }) => name === "queue" && line?.startsWith("5 values")).length === 3 && cards;
  });
  const card = (metric, pod, tenant) => {
    const found = cards.filter(({ name, from }) => name === metric && from.includes(`k8s.pod.name=${pod}`) && from.includes(`tenant=${tenant}`));
    assert.equal(found.length, 1, `${metric} of ${pod} of ${tenant}: ${JSON.stringify(cards)}`);
    return found[0];
  };
  assert.ok(!card("latency", "pod-1", "acme").from.includes("tenant.id="), "what says the same is told once");
  assert.equal(card("queue", "pod-1", "acme").line, "5 values, lowest 101, highest 105");
  assert.equal(card("queue", "pod-2", "acme").line, "5 values, lowest 1.10 k, highest 1.10 k");
  // The values that came with each point: of a cumulative series nothing is known of the first.
  for (const metric of ["latency", "pauses"]) {
    assert.equal(card(metric, "pod-1", "acme").line, "4 values, lowest 0.250, highest 0.250");
    assert.equal(card(metric, "pod-2", "acme").now, "0.500");
    assert.equal(card(metric, "pod-1", "globex").now, "40");
    assert.match(card(metric, "pod-2", "acme").text, /mean; 50 values in all/);
  }
  assert.equal(card("size", "pod-1", "acme").line, "5 values, lowest 0.250, highest 1.25");
  assert.match(card("size", "pod-1", "acme").text, /exponential histogram.*mean; 10 values came last/);
  assert.match(card("unsummed", "pod-1", "acme").text, /values a second; 50 values in all/);
  assert.match(card("unsummed", "pod-1", "acme").line, /^4 values/);
  assert.equal(card(LONG, "pod-1", "acme").now, "NaN");
  for (const { text, over, scrolls } of cards) {
    assert.ok(!text.includes("{"), `raw JSON: ${text}`);
    assert.deepEqual([over, scrolls], [[], 0], `${viewport.width}: ${text}`);
  }
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= viewport.width);
}

// What a watch has counted in all and whose records are nearest, as the API says it.
await log({ "tenant.id": "acme", "s2.stream": "api" }, "error 1", "error 2", "error 3");
await log({ "tenant.id": "globex", "s2.stream": "api" }, "error 4");
const page = await open();
const { watches } = await eventually("the watch fires, and has counted all", async () => {
  const answer = await api("/api/v1/watches");
  return answer.watches[0].state === "firing" && answer.watches.every(({ records }) => records === 4) && answer;
});
assert.deepEqual([watches[0].records, watches[0].nearest_tenant], [4, { id: "acme", records: 3 }]);
assert.deepEqual([watches[1].records, watches[1].nearest_tenant], [4, null]);
await visit(page, "/watches");
const figures = await page.locator("[aria-labelledby=watches] tbody tr").evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("data")].map((data) => Number(data.value))));
assert.deepEqual(figures, watches.map((watch) => [watch.records, ...(watch.nearest_tenant ? [watch.nearest_tenant.records] : [])]));

// That it fires is told where somebody looks.
await visit(page, "/");
const told = page.locator("[aria-labelledby=attention] li", { hasText: "errors" });
assert.match(await told.textContent(), /Watch errors has fired for \d+ s: 3 records of acme matched in the last 60 min, above 2\./);
await told.locator("a").click();
await page.waitForURL(/\/watches$/);
await visit(page, "/tenants/acme");
assert.match(await page.locator(".notice.error").textContent(), /The watch\s+errors fires since .*: 3 records matched, above 2 in 1 h\./);
await visit(page, "/tenants/globex");
assert.equal(await page.locator(".notice.error").count(), 0);

// The records of a stream, whatever its key is: as long as one may be, and of two parts of that length, each byte of which is escaped.
const part = `"\\ ${"y".repeat(509)}`;
for (const [resource, key] of [
  [{ "s2.stream": part, "tenant.id": "acme" }, part],
  [{ to: "parts", "s2.stream": "\\".repeat(512), "s2.other": "\"".repeat(512) }, null],
  [{ to: "parts", "s2.stream": "/".repeat(512), "s2.other": "/".repeat(512) }, null],
  [{ to: "parts", "s2.stream": "z".repeat(512), "s2.other": "z".repeat(512) }, null],
]) {
  await log(resource, "before");
  const { streams } = await api("/api/v1/streams?signal=logs&limit=1000");
  const stream = streams.find((one) => (key ? one.key === key : one.parts?.first === resource["s2.stream"]));
  assert.ok(stream, `there is a stream of ${JSON.stringify(resource)}: ${JSON.stringify(streams)}`);
  await visit(page, `/streams/one?${new URLSearchParams({ exporter: stream.exporter, signal: "logs", ...(stream.tenant && { tenant: stream.tenant }), key: stream.key })}`);
  await page.getByRole("link", { name: "Watch its records" }).click();
  await page.waitForURL(/\/tap\?/);
  await shown(page);
  await eventually("its records pass", async () => {
    assert.equal(await page.locator(".query-error, .notice.error").count(), 0, await page.locator("main").textContent());
    await log(resource, "as it passes");
    return (await page.locator(".tap-logs td.text").allTextContents()).includes("as it passes");
  });
}

// A key is as long as it is also on a phone.
const phone = await open({ viewport: { width: 360, height: 740 } });
const { streams } = await api("/api/v1/streams?signal=logs&limit=1000");
for (const { exporter, signal, tenant, key } of streams) {
  await visit(phone, `/streams/one?${new URLSearchParams({ exporter, signal, ...(tenant && { tenant }), key })}`);
  assert.ok((await phone.evaluate(() => document.documentElement.scrollWidth)) <= 360, key);
}

await finish();
