// Whatever is said by others is text, and what is secret of it is not shown.
import assert from "node:assert/strict";
import { addresses, api, eventually, facts, finish, open, visit } from "./browser.mjs";

const page = await open();
await page.addInitScript((token) => sessionStorage.setItem("sluice-token", token), facts.token);
const { streams } = await api(`/api/v1/streams?key=${encodeURIComponent(facts.script)}`);
assert.ok(streams.length > 0, "there are streams with a script for a key");
const of = ({ exporter, signal, tenant, key }) => `/streams/one?${new URLSearchParams({ exporter, signal, ...(tenant && { tenant }), key })}`;
const { letters } = await api("/api/v1/dead-letters");
assert.deepEqual([...new Set(letters.map((letter) => letter.signal))].sort(), ["logs", "metrics", "traces"], "there are letters of every signal");

/** Looks at what the page shows now. Returns how often the script stands there as text. */
async function look(where) {
  const { ran, elements, text, markup } = await page.evaluate(() => ({
    ran: window.planted,
    elements: document.querySelectorAll("main script, main img, dialog script, dialog img").length,
    text: document.body.innerText,
    markup: document.documentElement.outerHTML + [...document.querySelectorAll("input")].map((input) => input.value).join(),
  }));
  assert.equal(ran, undefined, `a script has run on ${where}`);
  assert.equal(elements, 0, `${where} takes text for markup`);
  for (const secret of facts.secrets) assert.ok(!markup.includes(secret), `${where} shows ${secret}`);
  return text.split(facts.script).length - 1;
}

const all = [
  ...(await addresses()),
  ...streams.map(of),
  `/streams?key=${encodeURIComponent(facts.script)}`,
  `/tap?query=${encodeURIComponent(`"${facts.script}"`)}`,
];
let seen = 0;
for (const address of all) {
  await visit(page, address);
  seen += (await look(address)) > 0;
}
assert.ok(seen >= streams.length + 1, `the text itself is shown on its pages: ${seen}`);

// Inside dead letters of every signal.
for (const letter of letters.filter((letter) => letter.key === facts.script)) {
  const address = `/dead-letters/${encodeURIComponent(letter.file)}`;
  await visit(page, address);
  for (const entry of await page.locator(".entry").all()) await entry.evaluate((details) => (details.open = true));
  assert.ok((await look(address)) > 10, `the attributes of the ${letter.signal} in a dead letter are shown`);
}

// Records as they pass, and all that is known of each.
const openAll = async (where) => {
  await eventually(`records are shown on ${where}`, async () => (await page.locator(".tap-logs td.text button").count()) > 1);
  await page.getByRole("button", { name: "Pause" }).click({ timeout: 1000 }).catch(() => {});
  for (let at = 0; at < 2; at += 1) {
    await page.locator(".tap-logs td.text button").nth(at).click();
    await page.locator(".opened").waitFor();
    assert.ok((await look(where)) > 10, `the attributes are shown on ${where}`);
    assert.match(await page.locator(".opened").textContent(), /\[redacted\]/, `what is hidden is told on ${where}`);
  }
};
const planted = "tenant:acme host:*script*";
await visit(page, `/tap?query=${encodeURIComponent(planted)}`);
await openAll("the tap");
for (const [view, what] of [["traces", ".waterfall li"], ["metrics", ".metric"]]) {
  await visit(page, `/tap?view=${view}&query=${encodeURIComponent(planted)}`);
  await page.locator(what).first().waitFor();
  assert.ok((await look(`the tap's ${view}`)) > 0, `${view} show their names`);
}
await visit(page, `/tap?of=recent&query=${encodeURIComponent(planted)}`);
await openAll("the recent logs");

// Where a payload would go, or why not.
const attributes = (more) => ({ attributes: [
  ...Object.entries({ [facts.script]: facts.script, "db.password": "s3cr3t-by-key", note: "Authorization: Bearer s3cr3t-in-text", ...more })
    .map(([key, stringValue]) => ({ key, value: { stringValue } })),
] });
const payload = (resource, record) => JSON.stringify({ resourceLogs: [{ resource, scopeLogs: [{ logRecords: [{ body: { stringValue: facts.script }, ...attributes({}), ...record }] }] }] });
await visit(page, "/configuration");
for (const [text, said] of [
  [payload(attributes({ "s2.stream": facts.script, "tenant.id": "acme" }), {}), ".explained"],
  [payload(attributes({ to: "none", "s2.stream": facts.script, "tenant.id": facts.script }), {}), ".explained"],
  [payload(attributes({ "tenant.id": "acme" }), { [facts.script]: facts.script, traceId: facts.script }), "[aria-labelledby=explain] [aria-live]"],
  [facts.script, "[aria-labelledby=explain] .notice.error"],
]) {
  page.expectsErrors = true;
  await page.getByLabel("An OTLP request in JSON").fill(text);
  const answered = page.waitForResponse((response) => response.url().includes("/api/v1/explain"));
  await page.getByRole("button", { name: "Explain" }).click();
  await answered;
  await page.locator(said).first().waitFor();
  await eventually("it is explained", async () => (await page.locator("[aria-labelledby=explain] [aria-live]").textContent()) !== "");
  await look("an explanation");
}

await finish();
