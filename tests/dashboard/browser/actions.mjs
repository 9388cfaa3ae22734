// Actions: asked back, refused without the write token, and done with it.
import assert from "node:assert/strict";
import { api, eventually, facts, finish, open, shown, visit } from "./browser.mjs";

const page = await open();
const dialog = page.locator("dialog[open]");
const done = () => dialog.waitFor({ state: "detached" });

/** Presses a button of the page and then the one in its dialog. */
async function act(button, confirm) {
  await page.getByRole("button", { name: button, exact: true }).first().click();
  await dialog.waitFor();
  await dialog.getByRole("button", { name: confirm, exact: true }).click();
}

const tenant = () => api("/api/v1/tenants/acme");

// Whoever thinks better of it has changed nothing.
await visit(page, "/tenants/acme");
await act("Pause", "Cancel");
await done();
assert.equal((await tenant()).paused, false);

// Without a token it is refused, and the dialog says from the beginning which one it needs.
page.expectsErrors = true;
await page.getByRole("button", { name: "Hold", exact: true }).click();
await dialog.getByText("It needs the write token of the configuration (admin.write_token)").waitFor();
await dialog.getByRole("button", { name: "Cancel" }).click();
await done();
await act("Pause", "Pause");
await dialog.getByRole("alert").waitFor();
assert.equal((await tenant()).paused, false);
await dialog.getByLabel("Write token").fill(facts.token);
await dialog.getByRole("button", { name: "Pause", exact: true }).click();
await done();
page.expectsErrors = false;
await eventually("the tenant is paused", async () => (await tenant()).paused);
assert.match(await page.locator(".announcement").textContent(), /acme is paused/);

// From now on this tab has the token, and no dialog asks for it.
await page.getByRole("button", { name: "Hold", exact: true }).click();
await dialog.waitFor();
assert.equal(await dialog.getByLabel("Write token").count(), 0);
await dialog.getByRole("button", { name: "Cancel" }).click();
await done();
await page.getByRole("button", { name: "Resume", exact: true }).waitFor();
await act("Resume", "Resume");
await done();
await eventually("the tenant is not paused any more", async () => !(await tenant()).paused);
await act("Hold", "Hold");
await done();
await eventually("the tenant is held", async () => (await tenant()).hold);
await page.getByRole("button", { name: "Release", exact: true }).waitFor();
await act("Release", "Release");
await done();

// A new token is shown once, and is the one that is accepted.
await act("Rotate", "Rotate");
const token = (await dialog.locator("pre").textContent()).trim();
assert.ok(token.length >= 20, token);
await dialog.getByRole("button", { name: "Close" }).click();
await done();
assert.ok(!(await page.content()).includes(token), "it is not shown any more");

// An exporter and a stream.
await visit(page, "/exporters/otlp_http%2Fwell");
await act("Hold", "Hold");
await done();
await eventually("the exporter is held", async () => (await api("/api/v1/exporters/otlp_http%2Fwell")).hold);
await page.getByText("All its streams are held by an operator (the write token, from 127.0.0.1)").waitFor();
await page.getByRole("button", { name: "Release", exact: true }).waitFor();
assert.equal(await page.getByRole("button", { name: "Hold", exact: true }).count(), 0, "what is held is not held again");
await act("Release", "Release");
await done();
await eventually("the exporter is released", async () => !(await api("/api/v1/exporters/otlp_http%2Fwell")).hold);
const { streams } = await api("/api/v1/streams?key=alpha&tenant=acme&signal=logs");
const { exporter, signal, key } = streams[0];
const one = `/streams/one?${new URLSearchParams({ exporter, signal, tenant: "acme", key })}`;
await visit(page, one);
await act("Hold", "Hold");
await done();
await eventually("the stream is held", async () => (await api(`/api/v1${one}`)).hold);
await page.getByText("It is held by an operator (the write token, from 127.0.0.1)").waitFor();
await visit(page, "/exporters/otlp_http%2Fwell");
await page.locator("[aria-labelledby=held] tbody a").first().click();
await page.waitForURL(/\/streams\/one\?/);
await act("Release", "Release");
await done();
await eventually("the stream is released", async () => !(await api(`/api/v1${one}`)).hold);

// What an upstream has refused is tried at once: one stream, all of an exporter, all of a tenant.
const refused = (more) => api(`/api/v1/streams?exporter=otlp_http/refusing&tenant=acme${more}`);
const held = (await refused("&signal=logs")).streams[0];
// A release may have tried some of them before.
const before = new Map((await refused("")).streams.map((stream) => [stream.signal, stream.failed_attempts]));
const tried = async (which, times) => (await refused(which)).streams.every(
  ({ signal, state, failed_attempts: failed }) => failed === before.get(signal) + times && state === "held");
await visit(page, `/streams/one?${new URLSearchParams({ exporter: held.exporter, signal: "logs", tenant: "acme", key: held.key })}`);
await page.getByText("It is held since").waitFor();
assert.equal(await page.locator(".notice time").first().getAttribute("datetime"), held.hold.since);
await act("Try now", "Try now");
await done();
assert.match(await page.locator(".announcement").textContent(), /: 1 stream is tried now\.$/);
await eventually("the stream was tried", () => tried("&signal=logs", 1));
assert.equal((await refused("&signal=logs")).streams[0].hold.since, held.hold.since);
await visit(page, "/exporters/otlp_http%2Frefusing");
await act("Try now", "Try now");
await done();
assert.match(await page.locator(".announcement").textContent(), /: 9 streams are tried now\.$/);
await eventually("all streams were tried", async () => (await tried("&signal=logs", 2)) && (await tried("&signal=traces", 1)));
await visit(page, "/tenants/acme");
await act("Try now", "Try now");
await done();
assert.match(await page.locator(".announcement").textContent(), /: 3 streams are tried now\.$/);
await eventually("its streams were tried", async () => (await tried("&signal=logs", 3)) && (await tried("&signal=traces", 2)));
// What is well has nothing to try.
await visit(page, "/exporters/otlp_http%2Fwell");
assert.equal(await page.getByRole("button", { name: "Try now" }).count(), 0);

// A dead letter is looked into, and deleted.
await visit(page, "/dead-letters");
const { total } = await api("/api/v1/dead-letters");
await page.locator(".rows tbody a").first().click();
await page.waitForURL(/\/dead-letters\/./);
await shown(page);
assert.match(await page.locator("main").textContent(), /a bad record/);
await act("Delete", "Delete");
await page.waitForURL(/\/dead-letters$/);
await eventually("the letter is gone", async () => (await api("/api/v1/dead-letters")).total === total - 1);

await finish();
