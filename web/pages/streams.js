// Streams: the ordered queues of one exporter, signal, tenant and key.
import { html } from "../lib/html.js";
import { setQuery, streamAddress } from "../lib/router.js";
import { Field, Figure, Moment, PageHead, State } from "../lib/parts.js";
import { ClearFilters, ServerTable, bothOrders } from "../lib/table.js";

const STATES = ["idle", "waiting", "sending", "backing_off", "held"];
const FILTERS = ["key", "exporter", "tenant", "signal", "state"];

const NOTHING = html`<span class="none">–</span>`;

const COLUMNS = [
  { label: "Key", orders: bothOrders("key", "ascending"), cell: (stream) => stream.key || html`<span class="none">(no key)</span>` },
  { label: "Exporter", rank: 3, width: "15%", orders: bothOrders("exporter", "ascending"), cell: (stream) => stream.exporter },
  { label: "Tenant", rank: 3, width: "11%", orders: bothOrders("tenant", "ascending"), cell: (stream) => stream.tenant ?? NOTHING },
  { label: "Signal", rank: 2, width: "5.5rem", cell: (stream) => stream.signal },
  { label: "State", rank: 2, width: "8rem", foldsFirst: true, cell: (stream) => html`<${State} name=${stream.state} />` },
  { label: "Waiting", number: true, width: "6.2rem", orders: bothOrders("pending_bytes"), cell: (stream) => html`<${Figure} value=${stream.pending_bytes} as="bytes" />` },
  { label: "Oldest", number: true, rank: 2, width: "7rem", orders: [{ value: "oldest", direction: "descending" }, { value: "-oldest", direction: "ascending" }], cell: (stream) => html`<${Figure} value=${stream.oldest_pending_seconds} as="duration" unit="seconds" />` },
  { label: "Delivered", number: true, rank: 3, width: "7rem", orders: bothOrders("delivered_records"), cell: (stream) => html`<${Figure} value=${stream.delivered_records} unit="records" />` },
  { label: "Failed", number: true, rank: 3, width: "5.5rem", orders: bothOrders("failed_attempts"), cell: (stream) => html`<${Figure} value=${stream.failed_attempts} as="exact" unit="attempts" />` },
  { label: "Last error", rank: 3, width: "11.5rem", folds: false, orders: bothOrders("last_error"), cell: (stream) => stream.last_error && html`<span title=${stream.last_error.message}><code>${stream.last_error.code}</code> <${Moment} at=${stream.last_error.at} /></span>` },
];

export function Streams({ query }) {
  const value = (name) => query.get(name);
  const filter = (name, label, options) => html`<${Field} label=${label} name=${name} value=${value(name)} options=${options}
    onChange=${(text) => setQuery({ [name]: text })} />`;
  const asked = Object.fromEntries([...FILTERS, "sort"].map((name) => [name, value(name)]));
  return html`
    <${PageHead} title="Streams" />
    <form class="filters" role="search" aria-label="Filter streams" onSubmit=${(event) => event.preventDefault()}>
      ${filter("key", "Key")}
      ${filter("exporter", "Exporter")}
      ${filter("tenant", "Tenant")}
      ${filter("signal", "Signal", [["", "all"], ["traces", "traces"], ["metrics", "metrics"], ["logs", "logs"]])}
      ${filter("state", "State", [["", "all"], ...STATES.map((state) => [state, state.replace("_", " ")])])}
      <${ClearFilters} names=${FILTERS} query=${query} />
    </form>
    <${ServerTable} path="/api/v1/streams" query=${asked} noun="stream" columns=${COLUMNS} defaultSort="oldest"
      pick=${(answer) => answer.streams} rowHref=${streamAddress}
      rowKey=${(stream) => [stream.exporter, stream.signal, stream.tenant, stream.key].join(" ")}
      empty=${FILTERS.some(value) ? "No stream fits these filters." : "No stream is live: the first record of a key begins one."} />
  `;
}
