// A table of all streams, from the first row to the last.
import assert from "node:assert/strict";
import { eventually, facts, finish, open, visit } from "./browser.mjs";

const FRAMES = 300;
/** Milliseconds that nineteen of twenty frames may take. */
const ALLOWED = 32;

const page = await open();
await visit(page, "/streams?sort=key");
const inDocument = () => page.locator(".rows tbody tr").count();
assert.equal(await page.locator(".rows table").getAttribute("aria-rowcount"), String(facts.streams + 1));
assert.ok((await inDocument()) < 100, "only what is seen is in the document");

/** Scrolls ten rows in each frame; what nineteen of twenty frames took at most. */
async function slowFrame() {
  const times = await page.evaluate((frames) => new Promise((resolve) => {
    const box = document.querySelector(".rows");
    const times = [];
    let last = performance.now();
    const step = (now) => {
      times.push(now - last);
      last = now;
      box.scrollTop += 340;
      if (times.length < frames) requestAnimationFrame(step);
      else resolve(times.slice(1));
    };
    requestAnimationFrame(step);
  }), FRAMES);
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.95)];
}

// Whatever else the machine does makes frames longer, and none shorter.
const rounds = [];
for (let round = 0; round < 5 && !(Math.min(...rounds) < ALLOWED); round += 1) rounds.push(await slowFrame());
assert.ok(Math.min(...rounds) < ALLOWED, `the 95th percentiles of frames are ${rounds.map((time) => time.toFixed(1)).join(", ")} ms`);
assert.ok((await inDocument()) < 100);

/** The text of a row, once it was read. */
const key = (index) => eventually(`row ${index} is read`, () => page.evaluate((index) => {
  const row = document.querySelector(`.rows tr[aria-rowindex="${index + 2}"]`);
  return row && !row.classList.contains("waiting") ? row.querySelector("th").innerText : null;
}, index));
const name = (index) => `stream-${String(index).padStart(6, "0")}`;

// Wherever it stops, the right rows are there, also where they were read before and forgotten since.
for (const index of [3000, 40_000, 3000, facts.streams - 1, 40_000, 3000, 0]) {
  await page.evaluate((index) => {
    const box = document.querySelector(".rows");
    box.scrollTop = index * parseFloat(getComputedStyle(box).getPropertyValue("--row"));
  }, index);
  assert.equal(await key(index), name(index));
}

await finish();
