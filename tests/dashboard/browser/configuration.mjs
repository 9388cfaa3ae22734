// The configuration: tried and read again, and where a payload would go by it.
import assert from "node:assert/strict";
import { api, eventually, facts, finish, open, visit } from "./browser.mjs";

const page = await open();
const dialog = page.locator("dialog[open]");
await page.addInitScript((token) => sessionStorage.setItem("sluice-token", token), facts.token);

// A reload, tried before it is made.
await visit(page, "/configuration");
const { version } = await api("/api/v1/config");
await page.getByRole("button", { name: "Dry run" }).click();
await page.getByText("It can be used").waitFor();
assert.equal((await api("/api/v1/config")).version, version, "a dry run changes nothing");
await page.getByRole("button", { name: "Reload", exact: true }).click();
await dialog.getByRole("button", { name: "Reload", exact: true }).click();
await dialog.waitFor({ state: "detached" });
await eventually("it is said that it was read again", () => page.getByText(/is in use/).isVisible());

// Where a payload would go.
const payload = { resourceLogs: [{ resource: { attributes: [{ key: "s2.stream", value: { stringValue: "alpha" } }] }, scopeLogs: [{ logRecords: [{ body: { stringValue: "text" } }] }] }] };
await page.getByLabel("An OTLP request in JSON").fill(JSON.stringify(payload));
await page.getByRole("button", { name: "Explain" }).click();
await page.locator(".explained", { hasText: "otlp_http/well" }).waitFor();

await finish();
