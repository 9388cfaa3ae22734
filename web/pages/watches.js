// Watches: queries whose records are counted, and that fire above or below a number.
import { html } from "../lib/html.js";
import { useLive } from "../lib/live.js";
import { address, tenantAddress } from "../lib/router.js";
import { Figure, Missing, Moment, NotConfigured, PageHead, Section, ShortTable, Sign, State, Trouble, sentence } from "../lib/parts.js";
import { duration, exact } from "../lib/format.js";
import { WATCHES } from "../lib/examples.js";

export function Watches() {
  const { data, error } = useLive("/api/v1/watches");
  if (!data) return html`<${PageHead} title="Watches" /><${Missing} error=${error} what="the watches" />`;
  const { watches, alertmanager } = data;
  const firing = watches.filter((watch) => watch.state === "firing");
  const series = firing.flatMap((watch) => watch.firing.map((one) => ({ ...one, watch: watch.name })));
  return html`
    <${PageHead} title="Watches" state=${watches.length > 0 && html`<${State} name=${firing.length > 0 ? "firing" : "ok"}>${firing.length > 0 ? `${firing.length} firing` : "none firing"}<//>`} />
    <${Trouble} error=${error} />
    ${alertmanager?.last_error && html`<p class="notice error"><${Sign} tone="error" /><span>The Alertmanager at <code>${alertmanager.url}</code> was not told: ${sentence(alertmanager.last_error)}</span></p>`}
    ${series.length > 0 && html`<${Section} title="Firing" id="firing">
      <${ShortTable} label="Firing" rows=${series} columns=${[
        { label: "Watch", cell: (one) => one.watch },
        { label: "Tenant", class: "name", cell: (one) => (one.tenant ? html`<a href=${tenantAddress(one.tenant)}>${one.tenant}</a>` : "all together") },
        { label: "Since", cell: (one) => html`<${Moment} at=${one.since} />` },
        { label: "Records", number: true, cell: (one) => html`<${Figure} value=${one.records} as="exact" />` },
      ]} />
    <//>`}
    <${Section} title="All watches" id="watches">
      <${ShortTable} label="Watches" rows=${watches} empty=${html`<${NotConfigured} text="No watch is configured." lines=${WATCHES} />`} columns=${[
        { label: "Watch", cell: (watch) => watch.name },
        { label: "State", cell: (watch) => html`<${State} name=${watch.state} />` },
        { label: "Records in its time", number: true, cell: (watch) => html`<${Figure} value=${watch.records} as="exact" />` },
        { label: "Nearest tenant", cell: (watch) => html`<${Nearest} watch=${watch} />` },
        { label: "Fires", cell: (watch) => threshold(watch) },
        { label: "Query", class: "text", cell: (watch) => html`<a href=${address("/tap", { query: watch.query })}><code>${watch.query}</code></a>` },
        { label: "Tenants", cell: (watch) => (watch.tenants ? `each of ${watch.tenants.join(", ")}` : "all together") },
      ]} />
      ${alertmanager && html`<p class="note">What fires is sent to the Alertmanager at <code>${alertmanager.url}</code>${alertmanager.last_sent ? html`, last <${Moment} at=${alertmanager.last_sent} />` : ". Nothing has been sent yet"}.</p>`}
    <//>
  `;
}

/** Whose records come nearest to what the watch fires at, where each tenant's are counted by themselves. */
function Nearest({ watch: { nearest_tenant: nearest } }) {
  if (!nearest) return html`<span class="none">–</span>`;
  return html`<a href=${tenantAddress(nearest.id)}>${nearest.id}</a>: <${Figure} value=${nearest.records} as="exact" />`;
}

/** When a watch fires, in words. */
export function threshold({ above, below, within_seconds: seconds }) {
  const [word, records] = above === null ? ["below", below] : ["above", above];
  return `${word} ${exact(records)} in ${duration(seconds)}`;
}
