// What every script here needs: a browser on the dashboard, which notices whatever a page must not do.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.SLUICE_MODULES, "..", "script.js"));
const { chromium } = require("playwright-core");
const axe = require("axe-core");

export const base = process.env.SLUICE_DASHBOARD;
export const facts = JSON.parse(process.env.SLUICE_FACTS ?? "{}");

/** What is judged to be wrong, until it is looked at. */
const problems = [];

let browser;

/** Opens a browser window; `options` are Playwright's for a context. */
export async function open(options = {}) {
  browser ??= await chromium.launch({
    executablePath: chromiumPath(),
    // Root may not have a sandbox, and nothing is shown but Sluice's own pages.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  await context.addInitScript(remember);
  const page = await context.newPage();
  watch(page);
  return page;
}

/** The system's Chromium, or what CHROMIUM names. */
function chromiumPath() {
  const named = process.env.CHROMIUM ?? "chromium";
  const places = named.includes("/") ? [named] : process.env.PATH.split(path.delimiter).map((directory) => path.join(directory, named));
  const found = places.find((place) => existsSync(place));
  assert.ok(found, `there is no ${named}`);
  return found;
}

/** Runs in the page before anything else: keeps breaches of the policy, and what the server has said last, of what is followed and of what is read. */
function remember() {
  window.breaches = [];
  addEventListener("securitypolicyviolation", (event) => window.breaches.push(`${event.violatedDirective}: ${event.blockedURI}`));
  window.said = new Map();
  const parse = JSON.parse;
  JSON.parse = (text) => {
    const value = parse(text);
    for (const key of Object.keys(value ?? {})) window.said.set(key, value);
    return value;
  };
  window.read = new Map();
  const json = Response.prototype.json;
  Response.prototype.json = async function () {
    const value = await json.call(this);
    for (const key of Object.keys(value ?? {})) window.read.set(key, value);
    return value;
  };
}

function watch(page) {
  const note = (what) => problems.push(`${new URL(page.url(), base).pathname}: ${what}`);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !page.expectsErrors) note(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => note(`error: ${error.stack}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== base && url.protocol !== "data:") note(`asks elsewhere: ${request.url()}`);
  });
}

/** Goes to a page, and waits until it shows what it is for. */
export async function visit(page, address) {
  await page.goto(base + address);
  await shown(page);
}

export async function shown(page) {
  await page.waitForSelector("h1");
  await page.waitForFunction(() => !document.querySelector(".loading"));
  const trouble = await page.locator(".notice[role=alert]").allTextContents();
  assert.deepEqual(trouble, [], `${page.url()} can't be shown`);
}

/** What axe-core finds that keeps somebody from using the page. */
export async function accessible(page, how) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of found.violations) {
    if (!["serious", "critical"].includes(violation.impact)) continue;
    const places = violation.nodes.slice(0, 3).map((node) => `${node.html} (${node.failureSummary})`);
    problems.push(`${page.url()}, ${how}: ${violation.id}: ${violation.help}: ${places.join("; ")}`);
  }
}

export async function api(address, options = {}) {
  const answer = await fetch(base + address, options);
  assert.ok(answer.ok, `${address}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

/** Waits until `holds` gives a value. */
export async function eventually(what, holds) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const value = await holds();
    if (value) return value;
    assert.ok(Date.now() < deadline, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Ends the script: nothing must have been noticed. */
export async function finish() {
  for (const context of browser.contexts()) {
    for (const page of context.pages()) problems.push(...(await page.evaluate(() => window.breaches)).map((breach) => `policy: ${breach}`));
  }
  await browser.close();
  assert.deepEqual(problems, []);
}

/** The pages, with those of one thing for what there is. */
export async function addresses() {
  const { streams } = await api("/api/v1/streams?limit=1");
  const { letters } = await api("/api/v1/dead-letters?limit=1");
  const { exporter, signal, tenant, key } = streams[0];
  const stream = new URLSearchParams({ exporter, signal, ...(tenant && { tenant }), key });
  return [
    "/",
    "/?range=24h",
    "/tenants",
    "/tenants/acme",
    "/streams",
    `/streams/one?${stream}`,
    "/exporters",
    `/exporters/${encodeURIComponent(exporter)}`,
    "/dead-letters",
    `/dead-letters/${encodeURIComponent(letters[0].file)}`,
    "/configuration",
    "/tap",
    "/watches",
  ];
}
