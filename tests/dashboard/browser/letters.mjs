// Dead letters: what filters find is counted, shown and meant by the buttons; what came of a replay or a deletion is told whole.
import assert from "node:assert/strict";
import { accessible, api, eventually, facts, finish, open, shown, visit } from "./browser.mjs";

const page = await open();
await page.addInitScript((token) => sessionStorage.setItem("sluice-token", token), facts.token);
const dialog = page.locator("dialog[open]");
const done = () => dialog.waitFor({ state: "detached" });
const button = (name) => page.locator(".page-actions").getByRole("button", { name, exact: true });
const said = () => page.locator(".table-said").textContent();
const rows = () => page.locator(".rows tbody tr:not(.gap)");
const waiting = () => page.locator(".rows tbody tr.waiting").count();
const letters = async (query = "") => (await api(`/api/v1/dead-letters?limit=1000${query && `&${query}`}`));
const announced = () => page.locator(".announcement").textContent();
/** A figure of an outcome, by its name. */
const told = async (name) => Number(await dialog.locator(".facts > div", { has: page.locator("dt", { hasText: name }) }).locator("data").getAttribute("value"));
const outcome = async () => Object.fromEntries(await Promise.all(["Replayed", "Delivered", "Refused again", "Rejected", "Dropped", "Left"].map(async (name) => [name, await told(name)])));

/** What the page says of `count` letters of `total` is the same everywhere. */
async function finds(count, query, { verb = "found" } = {}) {
  const { total, matching, matching_is_exact: isExact, letters: listed } = await letters(query);
  assert.deepEqual([matching, isExact, listed.length], [count, true, count], `the API finds them: ${query}`);
  const sentence = count < total ? `${count} of ${total} dead letters` : `${count} dead letter${count === 1 ? "" : "s"}`;
  await eventually(`"${sentence}" for ${query}`, async () => (await said()) === sentence);
  assert.equal(await rows().count(), count, query);
  assert.equal(await waiting(), 0, "nothing is waited for");
  if (count === 0) {
    await page.getByText("No dead letter fits these filters.").waitFor();
    for (const name of ["Replay", "Delete"]) assert.ok(await button(name).isDisabled(), `${name} has nothing to do`);
    return;
  }
  const label = (action) => (verb === "all" ? `${action} all ${count}` : `${action} ${count} ${verb}`);
  const noun = `${count} dead letter${count === 1 ? "" : "s"}`;
  for (const [action, question] of [["Replay", `Send ${noun} again?`], ["Delete", `Delete ${noun}?`]]) {
    await button(label(action)).click();
    assert.equal(await dialog.locator("h2").textContent(), question);
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await done();
  }
}

async function act(name, confirm) {
  await button(name).click();
  await dialog.getByRole("button", { name: confirm, exact: true }).click();
}

// Filters, by the address and by what is typed.
await visit(page, "/dead-letters");
await finds(facts.total, "", { verb: "all" });
for (const [query, count] of [
  ["tenant=nobody", 0],
  ["tenant=acme&signal=traces", 4],
  ["key=zeta", 3],
  ["signal=metrics", 2],
  ["exporter=otlp_http/well", 0],
  ["reason=no%20such", facts.total],
  ["to=2001-01-01T00:00:00Z", 0],
  ["from=2001-01-01T00:00:00Z&tenant=initech", 2],
]) {
  await visit(page, `/dead-letters?${query}`);
  await finds(count, query);
}
await visit(page, "/dead-letters");
await page.getByLabel("Tenant").fill("globex");
await page.waitForURL(/tenant=globex/);
await finds(3, "tenant=globex");
await page.getByRole("button", { name: "Clear filters" }).click();
await finds(facts.total, "", { verb: "all" });

// The links that lead here find what they name.
for (const [address, count] of [["/tenants/globex", 3], ["/exporters/otlp_http%2Fpicky", facts.total], ["/exporters/otlp_http%2Fwell", 0]]) {
  await visit(page, address);
  await page.getByRole("link", { name: "Its dead letters" }).click();
  await page.waitForURL(/dead-letters\?/);
  await shown(page);
  await finds(count, new URL(page.url()).search.slice(1));
}

// A moment that is not complete is not looked for, and keeps what is shown.
await visit(page, "/dead-letters?tenant=acme&signal=logs");
await page.getByLabel("From").pressSequentially("2026-03-2");
await new Promise((resolve) => setTimeout(resolve, 600));
await finds(4, "tenant=acme&signal=logs");
assert.ok(!page.url().includes("from="), page.url());
await page.getByLabel("Tenant").focus();
await page.getByText("A moment is written as").waitFor();
assert.equal(await page.getByLabel("From").getAttribute("aria-invalid"), "true");
assert.match(await page.locator("#moments-said").textContent(), /Not looked for: 2026-03-2\./);
await page.getByLabel("From").fill("2001-02-03T04:05:06Z");
await page.waitForURL(/from=2001-02-03T04%3A05%3A06Z/);
assert.equal(await page.locator("#moments-said").textContent(), "");
await finds(4, "tenant=acme&signal=logs&from=2001-02-03T04:05:06Z");

// One, from within: refused again, and taken.
const ofText = async (text) => {
  for (const { file } of (await letters()).letters) {
    const letter = await api(`/api/v1/dead-letters/${encodeURIComponent(file)}`);
    if (JSON.stringify(letter.records).includes(`"${text}"`)) return file;
  }
  return assert.fail(`no letter has ${text}`);
};
const refused = await ofText("never taken, one");
await visit(page, `/dead-letters/${encodeURIComponent(refused)}`);
assert.match(await page.locator("main").textContent(), /never taken, one/);
await page.locator(".entry.marked", { hasText: "refused" }).waitFor();
await act("Replay", "Replay");
await dialog.getByText("Nothing was delivered.").waitFor();
assert.deepEqual(await outcome(), { Replayed: 1, Delivered: 0, "Refused again": 1, Rejected: 0, Dropped: 0, Left: 0 });
await accessible(page, "what came of a replay");
await dialog.getByRole("button", { name: "Close" }).click();
await page.waitForURL(/\/dead-letters$/);
await shown(page);
assert.equal((await letters()).total, facts.total, "it is a dead letter again");
assert.ok(!(await letters()).letters.some((letter) => letter.file === refused), "in a new file");

await visit(page, `/dead-letters/${encodeURIComponent(await ofText("taken"))}`);
await act("Replay", "Replay");
await page.waitForURL(/\/dead-letters$/);
assert.equal(await announced(), "1 dead letter replayed: 1 record delivered.");
await eventually("it is gone", async () => (await letters()).total === facts.total - 1);

// Some, of which one is refused again.
await visit(page, "/dead-letters");
for (const text of ["never taken, two", "other one"]) await page.getByLabel(`Choose ${await ofText(text)}`).check();
await act("Replay 2 chosen", "Replay");
await dialog.getByText("Not all was delivered.").waitFor();
assert.deepEqual(await outcome(), { Replayed: 2, Delivered: 1, "Refused again": 1, Rejected: 0, Dropped: 0, Left: 0 });
await dialog.getByRole("button", { name: "Close" }).click();
await done();
await finds(facts.total - 2, "", { verb: "all" });

// All of a filter.
await visit(page, "/dead-letters?tenant=acme&signal=traces");
await act("Replay 4 found", "Replay");
await done();
assert.equal(await announced(), "4 dead letters replayed: 4 records delivered.");
await finds(0, "tenant=acme&signal=traces");
await visit(page, "/dead-letters?tenant=acme&signal=metrics");
await act("Delete 2 found", "Delete");
await done();
assert.equal(await announced(), "2 dead letters deleted: 2 records lost for good.");
await finds(0, "tenant=acme&signal=metrics");
assert.equal((await letters()).total, facts.total - 8);

// Whatever else can come of it is told as well.
const answers = async (verb, answer) => page.route(`**/api/v1/dead-letters/${verb}`, (route) => route.fulfill({ json: answer }), { times: 1 });
await visit(page, "/dead-letters");
const problems = [{ file: "x.logs.json", error: "not delivered in time (`otlp_http/picky`: 503)" }];
await answers("replay", { replayed: 5, records: 9, dead_lettered: 0, rejected: 3, dropped: 2, left: 4, problems });
await act(`Replay all ${facts.total - 8}`, "Replay");
await dialog.getByText("Not all was delivered.").waitFor();
assert.deepEqual(await outcome(), { Replayed: 5, Delivered: 9, "Refused again": 0, Rejected: 3, Dropped: 2, Left: 4 });
assert.match(await dialog.locator(".problems").textContent(), /x\.logs\.json: not delivered in time \(otlp_http\/picky: 503\)/);
await dialog.getByText("and 3 more").waitFor();
await dialog.getByRole("button", { name: "Close" }).click();
await done();
await answers("delete", { deleted: 0, records: 0, left: 1, problems: [{ file: "x.logs.json", error: "it can't be removed" }] });
await act(`Delete all ${facts.total - 8}`, "Delete");
await dialog.getByText("None was deleted.").waitFor();
assert.deepEqual([await told("Deleted"), await told("Left")], [0, 1]);
await page.keyboard.press("Escape");
await done();

// What was counted in part is not told as the whole.
let [askedForOlder, showOlder] = [0, () => {}];
const older = new Promise((resolve) => (showOlder = resolve));
await page.route("**/api/v1/dead-letters?*", async (route) => {
  if (route.request().url().includes("after=")) {
    // What is read of older letters takes its time, and finds none.
    askedForOlder += 1;
    await older;
    return route.fulfill({ json: { letters: [], next: null, total: 30_000, matching: 4, matching_is_exact: false } });
  }
  const answer = await (await route.fetch({ headers: { ...route.request().headers(), accept: "application/json" } })).json();
  await route.fulfill({ json: { ...answer, total: 30_000, matching: 4, matching_is_exact: false, next: answer.letters.at(-1).file } });
});
await page.goto(`${new URL(page.url()).origin}/dead-letters?tenant=acme`);
await page.getByText(/^at least 4 of 30,000 dead letters$/).waitFor();
await button("Delete all found").click();
assert.match(await dialog.locator("h2").textContent(), /^Delete at least 4 dead letters\?$/);
await dialog.getByText("of which not all have been counted").waitFor();
await dialog.getByRole("button", { name: "Cancel" }).click();
await done();
showOlder();
await page.getByText(/^[\d,]+ of 30,000 dead letters$/).waitFor();
await page.waitForTimeout(500);
assert.ok(askedForOlder <= 2, `the end of the list is asked for ${askedForOlder} times`);
await page.unrouteAll({ behavior: "ignoreErrors" });

// All that are left.
await visit(page, "/dead-letters");
await act(`Delete all ${facts.total - 8}`, "Delete");
await done();
await page.getByText("There is none. What could not be delivered would be here.").waitFor();
assert.equal(await said(), "0 dead letters");
assert.equal((await letters()).total, 0);

await finish();
