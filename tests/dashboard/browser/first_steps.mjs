// An empty Sluice says what to do next, and that works.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { facts, finish, open, visit } from "./browser.mjs";

const page = await open();
await visit(page, "/");
const steps = page.locator(".first-steps");
await steps.getByText(`http://${facts.endpoint}`).first().waitFor();
const command = await steps.locator("pre").textContent();
assert.match(command, /^curl /);
execFileSync("sh", ["-c", command], { stdio: "pipe" });
await steps.waitFor({ state: "detached" });

await finish();
