// Whatever is said by others is text.
import assert from "node:assert/strict";
import { addresses, api, facts, finish, open, visit } from "./browser.mjs";

const page = await open();
const { streams } = await api(`/api/v1/streams?key=${encodeURIComponent(facts.script)}`);
assert.ok(streams.length > 0, "there are streams with a script for a key");
const of = ({ exporter, signal, tenant, key }) => `/streams/one?${new URLSearchParams({ exporter, signal, ...(tenant && { tenant }), key })}`;
const { letters } = await api("/api/v1/dead-letters");

const all = [
  ...(await addresses()),
  ...streams.map(of),
  ...letters.map((letter) => `/dead-letters/${encodeURIComponent(letter.file)}`),
  `/streams?key=${encodeURIComponent(facts.script)}`,
  `/tap?query=${encodeURIComponent(`"${facts.script}"`)}`,
];
let seen = 0;
for (const address of all) {
  await visit(page, address);
  const { ran, elements, text, markup } = await page.evaluate(() => ({
    ran: window.planted,
    elements: document.querySelectorAll("main script, main img").length,
    text: document.body.innerText,
    markup: document.documentElement.outerHTML + [...document.querySelectorAll("input, textarea")].map((input) => input.value).join(),
  }));
  assert.equal(ran, undefined, `a script has run on ${address}`);
  assert.equal(elements, 0, `${address} takes text for markup`);
  seen += text.includes(facts.script);
  for (const secret of facts.secrets) assert.ok(!markup.includes(secret), `${address} shows ${secret}`);
}
assert.ok(seen >= streams.length + 1, `the text itself is shown on its pages: ${seen}`);

await finish();
