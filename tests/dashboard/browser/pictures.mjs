// Takes the documentation's pictures.
import { facts, finish, open, visit } from "./browser.mjs";

const DESK = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 };

const PICTURES = [
  ["overview", "/", { ...DESK, colorScheme: "light" }, true],
  ["overview-dark", "/", { ...DESK, colorScheme: "dark" }, true],
  ["streams", "/streams?sort=-pending_bytes", { ...DESK, colorScheme: "light" }, false],
  ["overview-phone", "/", { ...PHONE, colorScheme: "light" }, false],
];

for (const [name, address, options, fullPage] of PICTURES) {
  const page = await open(options);
  await visit(page, address);
  // The charts are there after the first look at the history.
  await page.waitForTimeout(2000);
  await page.screenshot({ path: `${facts.target}/${name}.png`, fullPage });
}

await finish();
