// The dashboard without a mouse: what has the focus is seen, and everything can be reached and done.
import assert from "node:assert/strict";
import { eventually, finish, open, shown, visit } from "./browser.mjs";

const page = await open();
const press = (key) => page.keyboard.press(key);
const focused = () => page.evaluate(() => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return {
    tag: element.localName,
    text: (element.textContent || element.getAttribute("aria-label") || element.name || "").trim(),
    row: element.dataset?.row,
    seen: outlineStyle !== "none" && parseFloat(outlineWidth) > 0,
    inDialog: Boolean(element.closest("dialog")),
  };
});

/** Goes on by Tab until the focus is where it should be. */
async function tabTo(what, is) {
  for (let presses = 0; presses < 60; presses += 1) {
    await press("Tab");
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

await finish();
