// Where there is little room, names, states and signals are seen whole.
import assert from "node:assert/strict";
import { api, eventually, facts, finish, open, visit } from "./browser.mjs";

const WINDOWS = { phone: { width: 360, height: 740 }, tablet: { width: 768, height: 1024 } };

/** The rows of a long table: what is seen of each, and which of its cells are cut. */
const rowsOf = (page) => page.locator(".rows tbody tr:not(.gap):not(.waiting)").evaluateAll((rows) => {
  const isSeen = (element) => element.getClientRects().length > 0;
  const isCut = (element) => element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1;
  // What stands there in full sentences is read on the page of the row.
  const isName = (element) => !["Reason", "Last failure"].includes(element.closest("table").tHead.rows[0].cells[element.closest("th, td").cellIndex].textContent);
  return rows.map((row) => ({
    text: [...row.cells].filter(isSeen).map((cell) => cell.innerText).join(" ").replaceAll(/\s+/g, " "),
    cut: [...row.querySelectorAll("th, td:not(.choose), .cell, .name")].filter((element) => isSeen(element) && isName(element) && isCut(element)).map((element) => element.outerHTML),
    height: row.getBoundingClientRect().height,
  }));
});

async function table(page, address, expected) {
  await visit(page, address);
  const rows = await eventually(`rows of ${address}`, async () => {
    const rows = await rowsOf(page);
    return rows.length >= expected.length && rows;
  });
  for (const { cut, height } of rows) {
    assert.deepEqual(cut, [], `${address}: what is cut`);
    assert.equal(height, rows[0].height, `${address}: rows are as high as each other, which the scrollbar relies on`);
  }
  for (const parts of expected) {
    const found = rows.filter(({ text }) => parts.every((part) => text.includes(part)));
    assert.equal(found.length, 1, `${address}: one row with ${parts}: ${JSON.stringify(rows.map(({ text }) => text))}`);
  }
  const { scrolls, width } = await page.evaluate(() => ({ scrolls: document.documentElement.scrollWidth, width: innerWidth }));
  assert.ok(scrolls <= width, `${address}: ${scrolls} pixels in a window of ${width}`);
}

const words = (state) => state.replaceAll("_", " ");

for (const [look, viewport] of Object.entries(WINDOWS)) {
  const page = await open({ viewport, hasTouch: true, isMobile: true });
  const { exporters } = await api("/api/v1/exporters");
  await table(page, "/exporters", exporters.map(({ name, state }) => [name, words(state)]));
  const { tenants } = await api("/api/v1/tenants");
  assert.ok(tenants.some(({ states }) => states.length > 1), "a tenant has several states");
  await table(page, "/tenants", tenants.map(({ id, states }) => [id, ...states.map(words)]));
  for (const key of ["gamma", facts.long]) {
    const { streams } = await api(`/api/v1/streams?key=${key}`);
    await table(page, `/streams?key=${key}`, streams.map(({ exporter, tenant, signal, state }) => [key, exporter, tenant, signal, words(state)]));
  }
  const { letters } = await api("/api/v1/dead-letters");
  await table(page, "/dead-letters", letters.map(({ exporter, tenant, key, signal }) => [exporter, tenant, key, signal]));

  // The first two columns of a short table are seen without moving it.
  await visit(page, "/watches");
  const cells = await page.locator("[aria-labelledby=watches] tbody tr").evaluateAll((rows) => rows.flatMap((row) =>
    [...row.cells].slice(0, 2).map((cell) => ({ text: cell.innerText, right: cell.getBoundingClientRect().right, box: cell.closest(".scroll").getBoundingClientRect().right, cut: cell.scrollWidth > cell.clientWidth }))));
  assert.ok(cells.length >= 2, "there is a watch");
  for (const { text, right, box, cut } of cells) assert.ok(right <= box && right <= viewport.width && !cut, `${look}: ${text} ends at ${right} of ${box}`);

  // A word that is longer than the window is wrapped.
  page.expectsErrors = true;
  await visit(page, `/tap?query=${"a".repeat(250)}%20${"b".repeat(250)}%20(`);
  await page.locator(".query-error").waitFor();
  assert.equal(await page.locator(".query-error mark").count(), 1);
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= viewport.width, `${look}: a long query`);
  page.expectsErrors = false;
}

// Exporters can be sorted by every column, of which each says so; heads that are no buttons say nothing.
const page = await open();
await visit(page, "/exporters");
for (const [head, sort] of [["State", "-state"], ["Not delivered", "-not_delivered_records"]]) {
  await page.getByRole("button", { name: head, exact: true }).click();
  await page.waitForURL(new RegExp(`sort=${sort}`));
  await eventually(`they are in the order of the API by ${sort}`, async () => {
    const { exporters } = await api(`/api/v1/exporters?sort=${sort}`);
    const shown = await page.locator(".rows tbody th").allTextContents();
    return JSON.stringify(shown) === JSON.stringify(exporters.map(({ name }) => name));
  });
}
await visit(page, "/tenants");
const heads = await page.locator(".rows thead th").evaluateAll((all) => all.map((head) => [Boolean(head.querySelector("button")), Boolean(head.querySelector(".arrow")), head.hasAttribute("aria-sort")]));
for (const [button, arrow, sorted] of heads) assert.deepEqual([arrow, sorted], [button, button]);

// A path that nothing has is told in the frame.
page.expectsErrors = true;
for (const path of ["/nonsense", "/tenants/", "/tenants/%zz"]) {
  const answer = await page.goto(new URL(path, page.url()).href);
  await page.getByRole("heading", { name: "There is no such page" }).waitFor();
  if (path !== "/tenants/%zz") assert.equal(answer.status(), 404, path);
  assert.equal(await page.locator("header nav a").count(), 8, path);
  assert.match(await page.title(), / · Sluice$/);
}
page.expectsErrors = false;

await finish();
