// An empty Sluice says what to do next, and that works.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { base, facts, finish, open, visit } from "./browser.mjs";

const page = await open();

// What is not configured is told with the lines that do.
await visit(page, "/watches");
await page.getByText("No watch is configured.").waitFor();
assert.match(await page.locator(".command pre").textContent(), /^watches:\n {2}- name: /);
await visit(page, "/dead-letters");
assert.match(await page.locator(".command pre").textContent(), /^dead_letter:\n/);

// Records are not shown to whoever has no token, and that is no fault of the query.
page.expectsErrors = true;
await visit(page, "/tap");
await page.getByText("admin.read_token").first().waitFor();
assert.equal(await page.locator("input[name=query]").getAttribute("aria-invalid"), "false");
page.expectsErrors = false;

// That they can't be read is said.
page.expectsErrors = true;
await page.route("**/api/v1/first-steps", (route) => route.fulfill({ status: 503, json: { error: "there is no room for them" } }));
await page.goto(`${base}/`);
await page.getByText("Can't read how to begin: there is no room for them").waitFor();
await page.unroute("**/api/v1/first-steps");
page.expectsErrors = false;

await visit(page, "/");
const steps = page.locator(".first-steps");
await steps.getByText(`http://${facts.endpoint}`).first().waitFor();
await steps.getByText("is the token of the sender").waitFor();
// Scales that nothing has made are not drawn.
await page.locator(".chart").first().getByText("nothing yet").waitFor();
const command = await steps.locator("pre").first().textContent();
assert.match(command, /^curl /);
execFileSync("bash", ["-c", `${command} -f`], { stdio: "pipe", env: { ...process.env, SLUICE_TOKEN: facts.token } });
await steps.waitFor({ state: "detached" });

await finish();
