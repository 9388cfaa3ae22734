// Records are shown as they pass, by a query, and found again afterwards.
import assert from "node:assert/strict";
import { eventually, finish, open, visit } from "./browser.mjs";

const page = await open();
const messages = () => page.locator(".tap-logs td.text").allTextContents();

await visit(page, "/tap?query=tenant:acme");
await eventually("logs pass", async () => (await messages()).includes("one"));

// All that is known of one is a click away.
await page.locator(".tap-logs td.text button").first().click();
await page.locator(".opened", { hasText: "s2.stream" }).waitFor();

// What fits nothing shows nothing, and a paused tap shows no more.
await page.getByLabel("Query").fill("tenant:globex");
await page.getByRole("button", { name: "Watch" }).click();
await page.waitForURL(/query=tenant%3Aglobex/);
await page.getByText("Nothing has passed yet that fits.").waitFor();
await visit(page, "/tap?query=tenant:acme&run=no");
await page.getByText("Paused.").waitFor();

// Spans and metrics have views of their own.
await visit(page, "/tap?query=tenant:acme&view=traces");
await page.locator(".waterfall li").first().waitFor();
await visit(page, "/tap?query=tenant:acme&view=metrics");
await page.locator(".metric").first().waitFor();

// The newest logs are kept.
await visit(page, "/tap?of=recent&query=tenant:acme");
await eventually("logs are found", async () => (await messages()).includes("two"));

// Where there are tenants, each log has its own, which leads to the page of that.
await visit(page, "/tap?of=recent&query=tenant:globex");
await page.getByRole("columnheader", { name: "Tenant" }).waitFor();
const tenants = () => page.locator(".tap-logs tbody tr td:nth-child(3) a").allTextContents();
await eventually("logs of the tenant are found", async () => (await tenants()).length > 0);
assert.deepEqual([...new Set(await tenants())], ["globex"]);

// A wrong query is told at its column.
page.expectsErrors = true;
await visit(page, "/tap?query=tenant:acme");
await page.getByLabel("Query").fill("tenant:acme (level:error");
await page.getByRole("button", { name: "Watch" }).click();
await page.locator(".query-error").waitFor();
assert.match(await page.locator("#query-said").textContent(), /Column \d+/);
assert.equal(await page.getByLabel("Query").getAttribute("aria-invalid"), "true");

await finish();
