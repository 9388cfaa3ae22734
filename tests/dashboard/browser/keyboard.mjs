// The dashboard without a mouse: what has the focus is seen, and everything can be reached and done.
import assert from "node:assert/strict";
import { api, eventually, facts, finish, open, shown, visit } from "./browser.mjs";

const page = await open();
const press = (key) => page.keyboard.press(key);
const focused = () => page.evaluate(() => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return {
    tag: element.localName,
    text: (element.textContent || element.getAttribute("aria-label") || element.name || "").trim(),
    label: (element.labels?.[0]?.querySelector("span")?.textContent ?? element.getAttribute("aria-label") ?? "").trim(),
    row: element.dataset?.row,
    seen: outlineStyle !== "none" && parseFloat(outlineWidth) > 0,
    inDialog: Boolean(element.closest("dialog")),
  };
});

/** Goes on by Tab, or by another key, until the focus is where it should be. */
async function tabTo(what, is, key = "Tab") {
  for (let presses = 0; presses < 80; presses += 1) {
    await press(key);
    const now = await focused();
    if (is(now)) {
      assert.ok(now.seen, `${what}: where the focus is can't be seen`);
      return now;
    }
  }
  return assert.fail(`Tab never comes to ${what}`);
}

await visit(page, "/streams");
await press("Tab");
assert.equal((await focused()).text, "Skip to content");
await press("Enter");
await tabTo("the first filter", ({ tag }) => tag === "input");
assert.equal((await focused()).text, "key", "the skip link leads past the navigation");

// An order, by the head of a column.
await tabTo("the order by waiting bytes", ({ text }) => text.startsWith("Waiting"));
await press("Enter");
await page.waitForURL(/sort=-pending_bytes/);
assert.equal(await page.getAttribute("th:has-text('Waiting')", "aria-sort"), "descending");

// Down and up the rows, and into one.
await tabTo("the first row", ({ row }) => row === "0");
await press("ArrowDown");
await eventually("the second row has the focus", async () => (await focused()).row === "1");
await press("ArrowUp");
await eventually("the first row has the focus", async () => (await focused()).row === "0");
await press("Enter");
await page.waitForURL(/\/streams\/one\?/);
await shown(page);
assert.equal((await focused()).tag, "h1", "the heading of what was opened has the focus");

// A dialog keeps the focus, and gives it back.
await tabTo("an action", ({ tag, text }) => tag === "button" && text === "Hold");
await press("Enter");
await page.waitForSelector("dialog[open]");
for (let presses = 0; presses < 8; presses += 1) {
  await press("Tab");
  const { inDialog, tag } = await focused();
  // Between the last and the first thing in it stands the browser's own.
  assert.ok(inDialog || tag === "body", "the focus has left the dialog");
}
await press("Escape");
await page.waitForSelector("dialog[open]", { state: "detached" });
assert.equal((await focused()).text, "Hold", "the focus is back where it was");

// The picture of the flow leads to exporters.
await visit(page, "/");
await tabTo("an exporter in the flow", ({ tag, text }) => tag === "a" && text.includes("otlp_http/well"));
await press("Enter");
await page.waitForURL(/\/exporters\/otlp_http%2Fwell/);
await shown(page);

// Each page that has controls: all that can be done there, by keys alone.
const button = (text) => ({ tag, text: said }) => tag === "button" && said.startsWith(text);
const field = (name) => ({ tag, label }) => ["input", "select", "textarea"].includes(tag) && label === name;
/** Opens a dialog, leaves it, and finds the focus where it was. */
async function askedBack(label) {
  await tabTo(label, button(label));
  await press("Enter");
  await page.waitForSelector("dialog[open]");
  assert.ok((await focused()).inDialog, `${label}: the dialog has the focus`);
  await press("Escape");
  await page.waitForSelector("dialog[open]", { state: "detached" });
  assert.ok(button(label)(await focused()), `${label}: the focus is back where it was`);
}
const typed = async (text) => {
  await press("Control+a");
  await page.keyboard.type(text);
};

// The overview: the time span of its charts, and the colours.
await visit(page, "/");
await tabTo("the colours", field("Colours"));
await page.keyboard.type("Dark");
await eventually("it is dark", () => page.evaluate(() => getComputedStyle(document.documentElement).colorScheme === "dark"));
await tabTo("the time span", button("24 hours"));
await press("Enter");
await page.waitForURL(/range=24h/);
await tabTo("the flow as a table", ({ tag }) => tag === "summary");
await press("Enter");
await page.locator(".flow-table[open]").waitFor();

// Lists: a filter, an order, and a row.
for (const [path, filter, order, row] of [["/tenants", "Id or platform", "Waiting", "acme"], ["/exporters", "Name", "Waiting", "otlp_http/well"]]) {
  await visit(page, path);
  await tabTo("the filter", field(filter));
  await typed(row);
  await page.waitForURL(/q=/);
  await tabTo("the way back to all", button("Clear filters"));
  await press("Enter");
  await eventually("there is no filter any more", () => !page.url().includes("q="));
  await visit(page, path);
  await tabTo("the order", button(order));
  await press("Enter");
  await page.waitForURL(/sort=/);
  await tabTo("a row", ({ row }) => row === "0");
  for (let at = 0; (await focused()).text.split("\n")[0] !== row && at < 5; at += 1) {
    await press("ArrowDown");
    await eventually("the next row has the focus", async () => (await focused()).row === String(at + 1));
  }
  await press("Enter");
  await page.waitForURL(new RegExp(`${path}/.`));
  await shown(page);
}

// What can be done with a tenant and an exporter is asked back.
await visit(page, "/tenants/globex");
for (const label of ["Try now", "Pause", "Hold", "Rotate"]) await askedBack(label);
await visit(page, "/exporters/otlp_http%2Frefusing");
for (const label of ["Try now", "Hold"]) await askedBack(label);
await tabTo("the stream of an attempt", ({ tag, text }) => tag === "a" && text === "gamma");
await press("Enter");
await page.waitForURL(/\/streams\/one/);
await shown(page);

// Watches lead to the tap.
await visit(page, "/watches");
await tabTo("the query of a watch", ({ tag, text }) => tag === "a" && text === "tenant:acme");
await press("Enter");
await page.waitForURL(/\/tap\?query=tenant%3Aacme/);

// The tap: a query, what is shown of it, a record, a pause, and the recent ones.
await visit(page, "/tap");
await tabTo("the query", field("Query"));
await typed("tenant:acme");
await press("Enter");
await page.waitForURL(/query=tenant%3Aacme/);
for (const view of ["Traces", "Metrics"]) {
  await tabTo(view, button(view));
  await press("Enter");
  await page.waitForURL(new RegExp(`view=${view.toLowerCase()}`));
}
await visit(page, "/tap");
await tabTo("the pause", button("Pause"));
await press("Enter");
await page.waitForURL(/run=no/);
await visit(page, "/tap");
await tabTo("the recent logs", button("Recent logs"));
await press("Enter");
await page.waitForURL(/of=recent/);
await page.locator(".tap-logs td.text button").first().waitFor();
await tabTo("a log", ({ tag, text }) => tag === "button" && ["one", "two", "three", "a bad record"].includes(text));
await press("Enter");
await page.locator(".opened").waitFor();

// The configuration: a dry run, a reload that is asked back, and where a payload would go.
await visit(page, "/configuration");
page.expectsErrors = true;
await tabTo("the dry run", button("Dry run"));
await press("Enter");
await eventually("it says something", async () => !(await page.locator("[aria-labelledby=dry-run] [aria-live]").textContent()).startsWith("A dry run"));
if (await page.locator("dialog[open]").count()) await press("Escape");
page.expectsErrors = false;
await visit(page, "/configuration");
await askedBack("Reload");
await tabTo("the payload", field("An OTLP request in JSON"));
await page.keyboard.insertText('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"text"}}]}]}]}');
await tabTo("Explain", button("Explain"));
await press("Enter");
await page.locator(".explained").first().waitFor();

// Dead letters: a filter, one that is chosen, one that is looked into, and its deletion with the token that it takes.
const { total } = await api("/api/v1/dead-letters");
await visit(page, "/dead-letters");
await tabTo("the filter by key", field("Key"));
await typed("delta");
await page.waitForURL(/key=delta/);
await page.getByRole("button", { name: "Delete 1 found" }).waitFor();
await tabTo("the choice", ({ tag, label }) => tag === "input" && label.startsWith("Choose "));
await press("Space");
await page.getByRole("button", { name: "Delete 1 chosen" }).waitFor();
await tabTo("the letter", ({ row }) => row === "0");
await press("Enter");
await page.waitForURL(/\/dead-letters\/./);
await shown(page);
await tabTo("an entry", ({ tag, text }) => tag === "summary" && text.startsWith("Entry 1"));
await press("Enter");
assert.equal(await page.locator(".entry").first().evaluate((entry) => entry.open), false);
await tabTo("Delete", button("Delete"), "Shift+Tab");
await press("Enter");
await page.waitForSelector("dialog[open]");
await tabTo("the token", ({ tag, label }) => tag === "input" && label === "Write token");
await page.keyboard.type(facts.token);
await press("Enter");
await page.waitForURL(/\/dead-letters$/);
await eventually("it is deleted", async () => (await api("/api/v1/dead-letters")).total === total - 1);
await eventually("the heading has the focus", async () => (await focused()).tag === "h1");

await finish();
