// Filters and orders are in the address, so that it can be sent to somebody.
import assert from "node:assert/strict";
import { eventually, finish, open, shown, visit } from "./browser.mjs";

const page = await open();
const rows = () => page.locator(".rows tbody tr:not(.gap):not(.waiting)");
const count = async () => (await page.locator(".table-said").textContent()).match(/[\d,]+/)[0];

await visit(page, "/streams");
const all = await count();
await page.getByLabel("Key").fill("gamma");
await page.waitForURL(/key=gamma/);
await eventually("fewer streams are shown", async () => (await count()) !== all);
assert.equal(await count(), "9");
await page.getByLabel("Signal").selectOption("logs");
await page.waitForURL(/signal=logs/);
await eventually("those of one signal are shown", async () => (await count()) === "3");
await page.getByRole("button", { name: "Key" }).click();
await page.waitForURL(/sort=key/);

// The same address in another window shows the same.
const other = await open();
await other.goto(page.url());
await shown(other);
assert.equal(await other.locator(".table-said").textContent(), await page.locator(".table-said").textContent());
assert.equal(await other.getByLabel("Key").inputValue(), "gamma");
assert.equal(await other.getByLabel("Signal").inputValue(), "logs");
assert.equal(await other.getAttribute("th:has-text('Key')", "aria-sort"), "ascending");

// A row leads to its stream, and back to the same filters.
await rows().first().locator("a").click();
await page.waitForURL(/\/streams\/one\?/);
await shown(page);
await page.goBack();
await page.waitForURL(/key=gamma/);
await shown(page);
assert.equal(await page.getByLabel("Key").inputValue(), "gamma");
await page.getByRole("button", { name: "Clear filters" }).click();
await eventually("all streams are shown again", async () => (await count()) === all);

// A filter that finds nothing says so.
await visit(page, "/streams?key=nothing-has-this");
assert.match(await page.locator("main").textContent(), /No stream fits these filters/);

// Tenants by their state.
await visit(page, "/tenants?state=failing");
assert.equal(await count(), "3");

await finish();
