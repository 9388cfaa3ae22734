// Every page, in light, in dark, and 360 pixels wide.
import assert from "node:assert/strict";
import { accessible, addresses, finish, open, visit } from "./browser.mjs";

const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
  "dark phone": { colorScheme: "dark", viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
};

/** A dialog that a button opens. */
const dialogOf = (name) => async (page) => {
  await page.locator(".page-actions, .card-head").getByRole("button", { name }).first().click();
  await page.locator("dialog[open]").waitFor();
};

/** What is seen of a page only once somebody has done something there. */
const STATES = [
  ["/tenants/acme", dialogOf("Hold")],
  ["/tenants/acme", dialogOf("Pause")],
  ["/exporters/otlp_http%2Fwell", dialogOf("Hold")],
  ["/dead-letters", dialogOf("Replay")],
  ["/dead-letters", dialogOf("Delete")],
  ["/configuration", dialogOf("Reload")],
  ["/dead-letters?tenant=nobody", async (page) => page.getByText("No dead letter fits these filters.").waitFor()],
  ["/dead-letters", async (page) => {
    await page.getByLabel("From").fill("2026");
    await page.getByLabel("Reason").focus();
    await page.getByText("A moment is written as").waitFor();
  }],
  ["/tap?of=recent", async (page) => {
    await page.locator(".tap-logs td.text button").first().click();
    await page.locator(".opened").waitFor();
  }],
  ["/configuration", async (page) => {
    await page.getByLabel("An OTLP request in JSON").fill('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"text"}}]}]}]}');
    await page.getByRole("button", { name: "Explain" }).click();
    await page.locator(".explained").first().waitFor();
  }],
];

/** Nothing is wider than the window. */
async function fits(page, where) {
  const { width, scrolls } = await page.evaluate(() => ({ width: innerWidth, scrolls: document.documentElement.scrollWidth }));
  assert.ok(scrolls <= width, `${where}: ${scrolls} pixels in a window of ${width}`);
}

for (const [look, options] of Object.entries(LOOKS)) {
  const page = await open(options);
  for (const address of await addresses()) {
    await visit(page, address);
    await accessible(page, look);
    await fits(page, `${address}, ${look}`);
    const { title, background, landmarks, headings } = await page.evaluate(() => ({
      title: document.title,
      background: getComputedStyle(document.documentElement).backgroundColor,
      landmarks: ["header", "main", "nav"].filter((name) => !document.querySelector(name)),
      headings: document.querySelectorAll("h1").length,
    }));
    assert.match(title, / · Sluice$/, address);
    assert.deepEqual([landmarks, headings], [[], 1], address);
    const light = Number(background.match(/\d+/)[0]) > 128;
    assert.equal(light, !look.startsWith("dark"), `${address}, ${look}: ${background}`);
  }
  for (const [address, act] of STATES) {
    await visit(page, address);
    await act(page);
    await accessible(page, `${look}, once something was done`);
    await fits(page, `${address}, ${look}, once something was done`);
  }
}

// The switch overrules the system, and is remembered.
const page = await open({ colorScheme: "light" });
await visit(page, "/streams");
await page.getByLabel("Colours").selectOption("dark");
await visit(page, "/tenants");
assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "dark");

await finish();
