// Every page, in light, in dark, and 360 pixels wide.
import assert from "node:assert/strict";
import { accessible, addresses, finish, open, visit } from "./browser.mjs";

const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
};

for (const [look, options] of Object.entries(LOOKS)) {
  const page = await open(options);
  for (const address of await addresses()) {
    await visit(page, address);
    await accessible(page, look);
    const { width, scrolls, title, background, landmarks, headings } = await page.evaluate(() => ({
      width: innerWidth,
      scrolls: document.documentElement.scrollWidth,
      title: document.title,
      background: getComputedStyle(document.documentElement).backgroundColor,
      landmarks: ["header", "main", "nav"].filter((name) => !document.querySelector(name)),
      headings: document.querySelectorAll("h1").length,
    }));
    assert.ok(scrolls <= width, `${address}, ${look}: ${scrolls} pixels in a window of ${width}`);
    assert.match(title, / · Sluice$/, address);
    assert.deepEqual([landmarks, headings], [[], 1], address);
    const light = Number(background.match(/\d+/)[0]) > 128;
    assert.equal(light, look !== "dark", `${address}, ${look}: ${background}`);
  }
}

// The switch overrules the system, and is remembered.
const page = await open({ colorScheme: "light" });
await visit(page, "/streams");
await page.getByLabel("Colours").selectOption("dark");
await visit(page, "/tenants");
assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "dark");

await finish();
