// All about one exporter.
import { html } from "../lib/html.js";
import { useLive } from "../lib/live.js";
import { address, exporterAddress, streamAddress } from "../lib/router.js";
import { Counted, Facts, Figure, Missing, Moment, PageHead, Section, ShortTable, Sign, State, Trouble, sentence } from "../lib/parts.js";
import { AttemptsOfStreams } from "../lib/attempts.js";
import { HeldByOperator, HoldActions } from "../lib/holds.js";
import { History } from "../lib/history.js";
import { Settings } from "../lib/settings.js";
import { duration } from "../lib/format.js";

const ENDS = {
  routed: "Routed",
  delivered: "Delivered",
  rejected: "Rejected",
  dead_lettered: "Dead-lettered",
  dropped: "Dropped",
};

export function ExporterPage({ name }) {
  const path = `/api/v1${exporterAddress(name)}`;
  const { data, error } = useLive(path);
  const head = (state, actions) => html`<${PageHead} title=${name} trail=${["/exporters", "Exporters"]} state=${state}>${actions}<//>`;
  if (!data) return html`${head()}<${Missing} error=${error} what="the exporter" />`;
  return html`
    ${head(html`<${State} name=${data.state} />`, html`<${HoldActions} name=${name} path=${path} held=${Boolean(data.hold)}
      waits=${data.failing_streams + data.held_tenants > 0 || data.held} />`)}
    <${Trouble} error=${error} />
    ${data.held && html`<p class="notice warning"><${Sign} tone="warning" /><span>All its streams are held since <${Moment} at=${data.held.since} as="clock" /> until <${Moment} at=${data.held.until} as="clock" />${data.held.for?.message ? html`: ${sentence(data.held.for.message)}` : "."}</span></p>`}
    ${data.hold && html`<${HeldByOperator} what="All its streams are" hold=${data.hold} />`}
    <p class="links">
      <a href=${address("/streams", { exporter: name })}>Its streams</a>
      <a href=${address("/dead-letters", { exporter: name })}>Its dead letters</a>
    </p>
    ${data.held_by_operators.length > 0 && html`<${HeldStreams} exporter=${name} held=${data.held_by_operators} />`}
    <div class="columns">
      <${Section} title="Now" id="now"><${Facts} facts=${[
        ["Type", data.type],
        ["Streams", html`<${Figure} value=${data.streams} as="exact" />`],
        ["Of these failing", html`<${Figure} value=${data.failing_streams} as="exact" />`],
        ["Of these held", html`<${Figure} value=${data.held_streams} as="exact" />`],
        ["Held tenants", html`<${Figure} value=${data.held_tenants} as="exact" />`],
        ["Waiting", html`<${Counted} value=${data.pending_records} noun="record" as="count" />, <${Figure} value=${data.pending_bytes} as="bytes" />`],
        ["Oldest waits for", html`<${Figure} value=${data.oldest_pending_seconds} as="duration" unit="seconds" />`],
      ]} /><//>
      <${Section} title="Answers" id="answers"><${Answers} attempts=${data.attempts} /><//>
    </div>
    <${Section} title="Records" id="records">
      <${ShortTable} label="Records by signal" rows=${Object.entries(data.records)} columns=${[
        { label: "Signal", cell: (row) => row[0] },
        ...Object.entries(ENDS).map(([end, label]) => ({ label, number: true, cell: (row) => html`<${Figure} value=${row[1][end]} unit="records" />` })),
      ]} />
    <//>
    <${History} of=${{ exporter: name }} />
    <${Section} title="Destinations" id="destinations">
      <${ShortTable} label="Destinations" rows=${data.destinations.shown} empty="None is in use." columns=${[
        { label: "Destination", cell: (destination) => html`<code>${destination.origin}</code>` },
        { label: "Circuit", cell: (destination) => html`<${State} name=${destination.circuit} />` },
        { label: "Last code", cell: (destination) => destination.failure && html`<code>${destination.failure}</code>` },
        { label: "Away for", number: true, cell: (destination) => duration(destination.open_seconds) },
        { label: "Next probe in", number: true, cell: (destination) => duration(destination.next_probe_seconds) },
      ]} />
      ${data.destinations.total > data.destinations.shown.length && html`<p class="note">${data.destinations.shown.length} of ${data.destinations.total} are shown.</p>`}
    <//>
    <${Section} title="Last attempts" id="attempts">
      <${AttemptsOfStreams} attempts=${data.last_attempts} by=${["stream", "tenant", "signal"]} />
    <//>
    <${Section} title="Last errors" id="errors">
      <${ShortTable} label="Last errors" rows=${data.last_errors} empty="No attempt has failed." columns=${[
        { label: "When", cell: (failure) => html`<${Moment} at=${failure.at} />` },
        { label: "Stream", cell: ({ of_stream: stream }) => (stream ? html`<a href=${streamAddress({ exporter: name, ...stream })}>${stream.key || "(no key)"}</a>` : html`<span class="none">–</span>`) },
        { label: "Code", cell: (failure) => html`<code>${failure.code}</code>` },
        { label: "What the destination says", class: "text", cell: (failure) => sentence(failure.message) },
        { label: "Address", class: "text", cell: (failure) => html`<code>${failure.target}</code>` },
      ]} />
    <//>
    <${Section} title="Settings" id="settings"><${Settings} value=${data.settings} /><//>
  `;
}

/** Its streams that operators hold, whether there is anything of them or not. */
function HeldStreams({ exporter, held }) {
  return html`<${Section} title="Held by operators" id="held">
    <${ShortTable} label="Streams held by operators" rows=${held} columns=${[
      { label: "Stream", cell: (stream) => html`<a href=${streamAddress({ exporter, ...stream })}>${stream.key || "(no key)"}</a>` },
      { label: "Tenant", cell: (stream) => stream.tenant ?? html`<span class="none">–</span>` },
      { label: "Signal", cell: (stream) => stream.signal },
      { label: "By", cell: (stream) => stream.hold.by ?? html`<span class="none">–</span>` },
      { label: "Since", cell: (stream) => html`<${Moment} at=${stream.hold.since} as="clock" />` },
      { label: "Until", cell: (stream) => (stream.hold.until ? html`<${Moment} at=${stream.hold.until} as="clock" />` : "it is released") },
    ]} />
  <//>`;
}

/** How often it was answered how. */
function Answers({ attempts }) {
  const rows = Object.entries(attempts ?? {}).filter(([, times]) => times > 0).sort((a, b) => b[1] - a[1]);
  return html`<${ShortTable} label="Answers" rows=${rows} empty="There was no attempt yet." columns=${[
    { label: "Code", cell: ([code]) => html`<code>${code}</code>` },
    { label: "Attempts", number: true, cell: ([, times]) => html`<${Figure} value=${times} as="exact" />` },
  ]} />`;
}
