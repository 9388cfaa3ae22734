// The exporters, each an upstream.
import { html } from "../lib/html.js";
import { exporterAddress, setQuery } from "../lib/router.js";
import { Field, Figure, PageHead, State } from "../lib/parts.js";
import { ClearFilters, ServerTable, bothOrders } from "../lib/table.js";

const SIGNALS = ["traces", "metrics", "logs"];

/** Records of all signals that ended in one way. */
const records = (exporter, end) => SIGNALS.reduce((sum, signal) => sum + (exporter.records[signal]?.[end] ?? 0), 0);

const COLUMNS = [
  { label: "Exporter", orders: bothOrders("name", "ascending"), cell: (exporter) => exporter.name },
  { label: "Type", rank: 3, width: "6.5rem", folds: false, orders: bothOrders("type", "ascending"), cell: (exporter) => exporter.type },
  { label: "State", rank: 2, width: "7.5rem", foldsFirst: true, orders: bothOrders("state"), cell: (exporter) => html`<${State} name=${exporter.state} />` },
  { label: "Streams", number: true, rank: 2, width: "6rem", orders: bothOrders("streams"), cell: (exporter) => html`<${Figure} value=${exporter.streams} as="exact" />` },
  { label: "Failing", number: true, rank: 2, width: "6rem", orders: bothOrders("failing_streams"), cell: (exporter) => html`<${Figure} value=${exporter.failing_streams} as="exact" unit="streams" />` },
  { label: "Waiting", number: true, width: "6.2rem", orders: bothOrders("pending_bytes"), cell: (exporter) => html`<${Figure} value=${exporter.pending_bytes} as="bytes" />` },
  { label: "Oldest", number: true, rank: 2, width: "7rem", orders: [{ value: "oldest", direction: "descending" }, { value: "-oldest", direction: "ascending" }], cell: (exporter) => html`<${Figure} value=${exporter.oldest_pending_seconds} as="duration" unit="seconds" />` },
  { label: "Delivered", number: true, rank: 3, width: "7rem", orders: bothOrders("delivered_records"), cell: (exporter) => html`<${Figure} value=${records(exporter, "delivered")} unit="records" />` },
  { label: "Not delivered", number: true, rank: 3, width: "8.5rem", orders: bothOrders("not_delivered_records"), cell: (exporter) => html`<${Figure} value=${["rejected", "dead_lettered", "dropped"].reduce((sum, end) => sum + records(exporter, end), 0)} unit="records" />` },
];

export function Exporters({ query }) {
  return html`
    <${PageHead} title="Exporters" />
    <form class="filters" role="search" aria-label="Filter exporters" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label="Name" name="q" value=${query.get("q")} onChange=${(q) => setQuery({ q })} size="wide" />
      <${ClearFilters} names=${["q"]} query=${query} />
    </form>
    <${ServerTable} path="/api/v1/exporters" query=${{ q: query.get("q"), sort: query.get("sort") }} noun="exporter" columns=${COLUMNS}
      defaultSort="configuration" pick=${(answer) => answer.exporters} rowKey=${(exporter) => exporter.name}
      rowHref=${(exporter) => exporterAddress(exporter.name)} empty="No exporter has this name." />
  `;
}
