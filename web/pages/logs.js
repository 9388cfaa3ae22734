// Log records as a table, each of which can be opened.
import { html, useState } from "../lib/html.js";
import { Sign } from "../lib/parts.js";
import { tenantAddress } from "../lib/router.js";
import { Settings } from "../lib/settings.js";
import { clock } from "../lib/format.js";

const LEVELS = { fatal: "error", error: "error", warn: "warning", warning: "warning", info: "info" };

/** `records` with the newest first, each with a `number` of its own. */
export function Logs({ records }) {
  const [open, setOpen] = useState(null);
  // Without a table of tenants no record has one.
  const hasTenants = records.some((record) => record.tenant);
  return html`<div class="tap-logs" tabindex="0" role="region" aria-label="Logs">
    <table class="short"><colgroup><col class="tap-time" /><col class="tap-level" />${hasTenants && html`<col class="tap-tenant rank2" />`}<col class="tap-service rank2" /><col /></colgroup><thead><tr>
      <th scope="col">Time</th><th scope="col">Level</th>${hasTenants && html`<th scope="col" class="rank2">Tenant</th>`}<th scope="col" class="rank2">Service</th><th scope="col">Message</th>
    </tr></thead><tbody>
      ${records.map((record) => html`<${Log} key=${record.number} record=${record} hasTenants=${hasTenants} open=${open === record.number}
        toggle=${() => setOpen(open === record.number ? null : record.number)} />`)}
    </tbody></table>
  </div>`;
}

function Log({ record, hasTenants, open, toggle }) {
  const level = record.level ?? "";
  return html`<tr>
    <td><time datetime=${record.time}>${clock(record.time)}</time></td>
    <td>${level && html`<span class=${`state ${LEVELS[level.toLowerCase()] ?? "idle"}`}><${Sign} tone=${LEVELS[level.toLowerCase()] ?? "idle"} />${level}</span>`}</td>
    ${hasTenants && html`<td class="rank2">${record.tenant && html`<a href=${tenantAddress(record.tenant)}>${record.tenant}</a>`}</td>`}
    <td class="rank2">${record.service}</td>
    <td class="text"><button type="button" class="plain" aria-expanded=${open ? "true" : "false"} onClick=${toggle}>${textOf(record.body ?? record.name)}</button></td>
  </tr>
  ${open && html`<tr class="opened"><td colspan=${hasTenants ? 5 : 4}><${Record} record=${record} /></td></tr>`}`;
}

/** A value of any kind as one line. */
export const textOf = (value) => (typeof value === "string" ? value : value === undefined || value === null ? "(no message)" : JSON.stringify(value));

/** All that is known of a record. */
function Record({ record }) {
  const { number: _number, signal: _signal, ...rest } = record;
  return html`<${Settings} value=${rest} />`;
}
