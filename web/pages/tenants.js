// The table of tenants.
import { html } from "../lib/html.js";
import { setQuery, tenantAddress } from "../lib/router.js";
import { Field, Figure, Moment, NotConfigured, PageHead, State } from "../lib/parts.js";
import { TENANTS } from "../lib/examples.js";
import { ClearFilters, ServerTable } from "../lib/table.js";

const STATES = ["broken", "failing", "over_limit", "paused", "held", "silent", "ok"];
const FILTERS = ["q", "state"];

/** Both orders by one name, of which the API has the one that is wanted more often without `-`. */
const order = (value, direction = "descending") => [
  { value, direction },
  { value: `-${value}`, direction: direction === "descending" ? "ascending" : "descending" },
];

const COLUMNS = [
  { label: "Tenant", orders: order("id", "ascending"), cell: (tenant) => tenant.id ?? tenant.place },
  { label: "State", rank: 2, width: "11rem", foldsFirst: true, orders: order("state"), cell: (tenant) => tenant.states.map((state) => html`<${State} key=${state} name=${state} /> `) },
  { label: "Rate", number: true, rank: 2, width: "6.5rem", orders: order("rate"), cell: (tenant) => html`<${Figure} value=${tenant.bytes_per_second} as="bytesPerSecond" />` },
  { label: "Received", number: true, rank: 3, width: "6rem", orders: order("received"), cell: (tenant) => html`<${Figure} value=${tenant.received.records.accepted} unit="records" />` },
  { label: "Delivered", number: true, rank: 3, width: "6rem", orders: order("delivered"), cell: (tenant) => html`<${Figure} value=${tenant.records.delivered} unit="records" />` },
  { label: "Waiting", number: true, width: "6.2rem", orders: order("pending"), cell: (tenant) => html`<${Figure} value=${tenant.pending_bytes} as="bytes" />` },
  { label: "Oldest", number: true, rank: 2, width: "7rem", orders: order("oldest"), cell: (tenant) => html`<${Figure} value=${tenant.oldest_pending_seconds} as="duration" unit="seconds" />` },
  { label: "Streams", number: true, rank: 3, width: "5.5rem", orders: order("streams"), cell: (tenant) => html`<${Figure} value=${tenant.streams} as="exact" />` },
  { label: "Last failure", rank: 3, width: "12rem", orders: order("last_failure"), cell: (tenant) => tenant.last_failure && html`<span title=${tenant.last_failure.message}><code>${tenant.last_failure.code}</code> <${Moment} at=${tenant.last_failure.at} /></span>` },
];

export function Tenants({ query }) {
  const value = (name) => query.get(name);
  return html`
    <${PageHead} title="Tenants" />
    <form class="filters" role="search" aria-label="Filter tenants" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label="Id or platform" name="q" value=${value("q")} onChange=${(q) => setQuery({ q })} size="wide" />
      <${Field} label="State" name="state" value=${value("state")} onChange=${(state) => setQuery({ state })}
        options=${[["", "all"], ...STATES.map((state) => [state, state.replace("_", " ")])]} />
      <${ClearFilters} names=${FILTERS} query=${query} />
    </form>
    <${ServerTable} path="/api/v1/tenants" noun="tenant" columns=${COLUMNS} defaultSort="id"
      query=${{ q: value("q"), state: value("state"), sort: value("sort") }}
      pick=${(answer) => answer.tenants} rowKey=${(tenant) => tenant.id ?? tenant.place}
      rowHref=${(tenant) => tenant.id && tenantAddress(tenant.id)}
      empty=${FILTERS.some(value) ? "No tenant fits these filters." : html`<${NotConfigured} text="There is no table of tenants, or it has no rows." lines=${TENANTS} />`} />
  `;
}
