// The last attempts to send something.
import { html } from "./html.js";
import { exporterAddress, streamAddress, tenantAddress } from "./router.js";
import { Figure, Moment, ShortTable, sentence } from "./parts.js";

const none = html`<span class="none">–</span>`;

/** What says which stream an attempt is of, where that is not known anyway. */
const STREAM_COLUMNS = {
  stream: { label: "Stream", cell: ({ stream }) => html`<a href=${streamAddress(stream)}>${stream.key || "(no key)"}</a>` },
  exporter: { label: "Exporter", cell: ({ stream }) => html`<a href=${exporterAddress(stream.exporter)}>${stream.exporter}</a>` },
  tenant: { label: "Tenant", cell: ({ stream }) => (stream.tenant ? html`<a href=${tenantAddress(stream.tenant)}>${stream.tenant}</a>` : none) },
  signal: { label: "Signal", cell: ({ stream }) => stream.signal },
};

/** The newest first. `by` are the names of the columns that say which stream each is of. */
export function Attempts({ attempts, by = [], empty }) {
  return html`<${ShortTable} label="Last attempts" rows=${attempts} empty=${empty} columns=${[
    { label: "When", cell: (attempt) => html`<${Moment} at=${attempt.at} as="clock" />` },
    ...by.map((name) => STREAM_COLUMNS[name]),
    { label: "Code", cell: (attempt) => html`<code>${attempt.code}</code>` },
    { label: "Took", number: true, cell: (attempt) => html`<${Figure} value=${attempt.millis / 1000} as="duration" unit="seconds" />` },
    { label: "Bytes", number: true, cell: (attempt) => html`<${Figure} value=${attempt.bytes} as="bytes" />` },
    { label: "Records", number: true, cell: (attempt) => html`<${Figure} value=${attempt.records} />` },
    { label: "Batch", cell: (attempt) => (attempt.part ? "part" : "whole") },
    { label: "What the destination says", class: "text", cell: (attempt) => sentence(attempt.message) },
    { label: "Address", class: "text", cell: (attempt) => html`<code>${attempt.target}</code>` },
  ]} />`;
}

/** Those of many streams, of which healthy ones are noted only while somebody looks. */
export const AttemptsOfStreams = ({ attempts, by }) => html`
  <p class="note">Those that failed, and all since somebody has looked here.</p>
  <${Attempts} attempts=${attempts} by=${by} empty="None is known yet." />`;
