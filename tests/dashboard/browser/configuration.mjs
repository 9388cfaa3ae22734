// The configuration: tried and read again, and where a payload would go by it.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { accessible, api, eventually, facts, finish, open, visit } from "./browser.mjs";

const page = await open();
const dialog = page.locator("dialog[open]");
const section = (title) => page.locator("section.card", { has: page.getByRole("heading", { name: title, exact: true }) });
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
await eventually("it is said that it was read again", () => page.getByText(/^Version \d+ is in use/).isVisible());

// A change, tried before it is in the file.
const file = readFileSync(facts.file, "utf8");
const candidate = section("Try a change");
const { version: inUse } = await api("/api/v1/config");
async function tried(text, outcome) {
  // A browser's console tells of the 422 that a text which can't be used is answered with.
  page.expectsErrors = outcome === "It can't be used";
  await candidate.getByLabel("A candidate for the configuration").fill(text);
  await candidate.getByRole("button", { name: "Show what it would do" }).click();
  await candidate.getByText(outcome).waitFor();
  const said = await candidate.textContent();
  assert.ok(!said.includes("s3cr3t"), said);
  assert.equal((await api("/api/v1/config")).version, inUse, "a candidate changes nothing");
  assert.equal(readFileSync(facts.file, "utf8"), file);
}
const longer = file.replaceAll("compression: none,", "compression: none, timeout: 7s,");
await tried(longer, "It can be used");
await candidate.locator("tr", { hasText: "otlp_http/picky" }).getByText("7s").waitFor();
await candidate.getByText("No stream would drain").waitFor();
await tried(file.split("\n").filter((line) => !line.includes("refusing")).join("\n"), "It can be used");
await candidate.locator("tr", { hasText: "otlp_http/refusing" }).getByText("removed").waitFor();
await candidate.getByText("9 streams would drain").waitFor();
await tried(file.replace("routes:", "rotes:"), "It can't be used");
await candidate.getByText(/unknown key/i).first().waitFor();
writeFileSync(facts.rows, "- { id: acme, nonsense: 1 }\n");
await tried(file.replace(/^tenants:.*$/m, `tenants: { file: '${facts.rows}' }`), "It can't be used");
await candidate.locator("p.notice", { hasText: "rows.yaml:1:" }).getByText(/nonsense/).first().waitFor();
await candidate.getByRole("button", { name: "Start from what is in use" }).click();
const begun = await candidate.getByLabel("A candidate for the configuration").inputValue();
assert.equal(begun, (await api("/api/v1/config")).text);
assert.ok(!(await candidate.textContent()).includes("It can't be used"), "what was said of another text is gone");
page.expectsErrors = false;
await accessible(page, "configuration");

// A reload with a change.
writeFileSync(facts.file, longer);
const onDisk = section("The file on disk");
await onDisk.getByRole("button", { name: "Dry run" }).click();
await onDisk.locator("tr", { hasText: "otlp_http/picky" }).getByText("7s").waitFor();
await onDisk.getByRole("button", { name: "Reload", exact: true }).click();
await dialog.getByRole("button", { name: "Reload", exact: true }).click();
await dialog.waitFor({ state: "detached" });
await eventually("the change is in use", async () => (await api("/api/v1/config")).text.includes("timeout: 7s"));
await visit(page, "/configuration");
await section("Reloads").getByText("the write token, from 127.0.0.1").first().waitFor();
await section("In use").getByText("timeout: 7s").first().waitFor();

// Where a payload would go.
const payload = { resourceLogs: [{ resource: { attributes: [{ key: "s2.stream", value: { stringValue: "alpha" } }] }, scopeLogs: [{ logRecords: [{ body: { stringValue: "text" } }] }] }] };
await page.getByLabel("An OTLP request in JSON").fill(JSON.stringify(payload));
await page.getByRole("button", { name: "Explain" }).click();
await page.locator(".explained", { hasText: "otlp_http/well" }).waitFor();

await page.getByLabel("An OTLP request in JSON").fill('{"resourceSpans":[]}');
await page.getByRole("button", { name: "Explain" }).click();
await page.getByText("The request is empty").waitFor();

await finish();
