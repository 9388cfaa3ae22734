// What comes in, what goes out, what does not, and what needs somebody.
import { html } from "../lib/html.js";
import { useLive, useRead } from "../lib/live.js";
import { address, setQuery } from "../lib/router.js";
import { Choice, Counted, Facts, Figure, Meter, Missing, Moment, PageHead, Section, ShortTable, Sign, Snippet, State, Trouble, sentence } from "../lib/parts.js";
import { Chart, timesOf } from "../lib/chart.js";
import { Flow } from "../lib/flow.js";
import * as format from "../lib/format.js";

const SIGNALS = ["traces", "metrics", "logs"];
const ENDS = ["rejected", "dead_lettered", "dropped", "refused", "unrouted"];

const total = (part, field) => SIGNALS.reduce((sum, signal) => sum + (part?.[signal]?.[field] ?? 0), 0);
const all = (part) => ENDS.reduce((sum, end) => sum + (part?.[end] ?? 0), 0);

export function Overview({ query }) {
  const { data, error } = useLive("/api/v1/overview");
  if (!data) return html`<${PageHead} title="Overview" /><${Missing} error=${error} what="the overview" />`;
  const isNew = total(data.totals.received, "requests") === 0 && data.totals.pending.records === 0;
  return html`
    <${PageHead} title="Overview" state=${html`<${State} name=${data.phase} />`}>
      <span class="note">Sluice ${data.version}, started <${Moment} at=${data.started_at} /></span>
    <//>
    <${Trouble} error=${error} />
    <${Attention} data=${data} />
    ${isNew && html`<${FirstSteps} />`}
    <${Headline} data=${data} />
    <div class="columns wide-first">
      <div class="stack">
        <${Section} title="Signals" id="signals"><${Signals} data=${data} /><//>
        <${Reload} reload=${data.reload} />
      </div>
      <${Section} title="Room" id="room"><${Room} data=${data} /><//>
    </div>
    <${Section} title="Flow" id="flow"><${Flow} flow=${data.flow} /><//>
    <${History} range=${query.get("range") === "24h" ? "24h" : "15m"} memory=${data.memory} />
  `;
}

/** What is told without how long it has been so. */
const UNTIMED = ["broken_row", "broken_rows"];

/** What needs somebody, most urgent first. */
function Attention({ data }) {
  const { attention, attention_total: known } = data;
  if (attention.length === 0) {
    return html`<p class="calm"><${Sign} tone="ok" /><span>Nothing needs attention.</span></p>`;
  }
  const more = (known ?? attention.length) - attention.length;
  return html`<${Section} title="Needs attention" id="attention" class="attention"
    actions=${html`<span class="note">${format.plural(known ?? attention.length, "item")}</span>`}>
    <ol class="attention-list">
      ${attention.map((item, at) => html`<li key=${at} class=${item.severity}>
        <${Sign} tone=${item.severity} />
        <div class="attention-text">
          <span class="unseen">${item.severity}: </span>
          ${item.href ? html`<a href=${item.href}>${sentence(item.text)}</a>` : sentence(item.text)}
        </div>
        ${UNTIMED.includes(item.kind) && html`<span class="attention-since"><${Moment} at=${item.since} /></span>`}
      </li>`)}
    </ol>
    ${more > 0 && html`<p class="note">and ${format.exact(more)} more</p>`}
  <//>`;
}

/** For who has just started Sluice: where to send to, and what to try. */
function FirstSteps() {
  const [steps, error] = useRead(60, "/api/v1/first-steps");
  if (!steps) return error && html`<${Missing} error=${error} what="how to begin" />`;
  // What listens everywhere is reached by the name by which this page was.
  const url = steps.url?.replace(/\/\/(0\.0\.0\.0|\[::\]):/, `//${location.hostname}:`);
  const reachable = (command) => command.replaceAll(steps.url, url);
  return html`<section class="card first-steps" aria-labelledby="first-steps">
    <h2 id="first-steps">Nothing has come in yet</h2>
    ${url ? html`<p>Point your applications or your Collector at <code>${url}</code> (OTLP over HTTP)${steps.curl ? ", or try it now:" : "."}</p>` : html`<p>No receiver takes OTLP over HTTP.</p>`}
    ${!url ? null : steps.curl ? html`<${Snippet} text=${reachable(steps.curl)} />` : html`<p>No route takes a record that could be made up here: <code>sluice explain</code> says what a captured one is missing.</p>`}
    ${steps.send && html`<p>For ten streams at once, five seconds long:</p><${Snippet} text=${reachable(steps.send)} />`}
    ${steps.secret && html`<p class="note">${sentence(steps.secret)} Set it in the shell first, by <code>export</code>.</p>`}
  </section>`;
}

function Headline({ data }) {
  const { rates, totals } = data;
  const lost = all(totals.not_delivered);
  return html`<dl class="headline">
    <${Tile} label="Received" value=${html`<${Figure} value=${total(rates.received, "records")} as="perSecond" unit="records per second" />`}
      note=${html`<${Figure} value=${total(rates.received, "bytes")} as="bytesPerSecond" />, <${Figure} value=${total(rates.received, "requests")} as="perSecond" /> requests`} />
    <${Tile} label="Delivered" value=${html`<${Figure} value=${total(rates.exported, "records")} as="perSecond" unit="records per second" />`}
      note=${html`<${Counted} value=${total(totals.exported, "records")} noun="record" as="count" /> since the start`} />
    <${Tile} label="Not delivered" tone=${lost > 0 ? "warning" : null} value=${html`<${Figure} value=${lost} unit="records" />`}
      note=${lost === 0 ? "records since the start" : html`<${Ends} parts=${totals.not_delivered} />`} />
    <${Tile} label="Waiting" value=${html`<${Figure} value=${totals.pending.records} unit="records" />`}
      note=${html`<${Figure} value=${totals.pending.bytes} as="bytes" /> in <${Counted} value=${totals.pending.streams} noun="stream" />`} />
  </dl>`;
}

function Tile({ label, value, note, tone }) {
  return html`<div class="tile ${tone ?? ""}">
    <dt class="label">${tone && html`<${Sign} tone=${tone} />`}${label}</dt>
    <dd class="big">${value}</dd>
    <dd class="note">${note}</dd>
  </div>`;
}

/** Records that were not delivered, by what became of them. */
function Ends({ parts }) {
  const known = ENDS.filter((end) => parts[end] > 0);
  return known.map((end, at) => html`<span key=${end}>${at > 0 ? ", " : ""}<${Figure} value=${parts[end]} unit="records" /> ${format.words(end)}</span>`);
}

function Signals({ data }) {
  const { rates, totals } = data;
  // The last row is that of all signals.
  const cell = (part, field, as) => (signal) => html`<${Figure} value=${signal ? (part?.[signal]?.[field] ?? 0) : total(part, field)} as=${as} />`;
  return html`<${ShortTable} label="Signals" rows=${[...SIGNALS, null]} columns=${[
    { label: "Signal", cell: (signal) => (signal ? html`<span class=${`dot of-${signal}`}></span>${signal}` : "all") },
    { label: "Requests", number: true, cell: cell(rates.received, "requests", "perSecond") },
    { label: "Records in", number: true, cell: cell(rates.received, "records", "perSecond") },
    { label: "Bytes in", number: true, cell: cell(rates.received, "bytes", "bytesPerSecond") },
    { label: "Records out", number: true, cell: cell(rates.exported, "records", "perSecond") },
    { label: "In since start", number: true, cell: cell(totals.received, "records", "count") },
    { label: "Out since start", number: true, cell: cell(totals.exported, "records", "count") },
  ]} />`;
}

function Room({ data }) {
  const { memory, journal, dead_letters: letters, streams, tenants } = data;
  return html`<div class="meters">
    <${Meter} label="Memory" used=${memory.used} limit=${memory.limit} />
    ${journal && html`<${Meter} label="Journal" used=${journal.bytes} limit=${journal.limit}
      note=${journalNote(journal)} />`}
    <${Meter} label="Streams" used=${streams.live} limit=${streams.limit} as="count" />
    ${letters && html`<${Meter} label="Dead letters" used=${letters.bytes} limit=${letters.max_size}
      note=${letters.files > 0 && html`<a href="/dead-letters">Look into <${Counted} value=${letters.files} noun="letter" /></a>`} />`}
    ${tenants && html`<p class="note"><a href="/tenants"><${Counted} value=${tenants.count} noun="tenant" /></a>${tenants.problems > 0 && html`, <a href="/tenants?state=broken"><${Figure} value=${tenants.problems} as="exact" /> with a problem</a>`}</p>`}
  </div>`;
}

function journalNote({ state, oldest_seconds: oldest }) {
  const notes = [state !== "ok" && state && format.words(state), oldest > 0 && `the oldest record waits for ${format.duration(oldest)}`];
  return notes.filter(Boolean).join(", ") || null;
}

function History({ range, memory }) {
  const [history, error] = useRead(range === "24h" ? 60 : 5, address("/api/v1/history", { range }));
  return html`<${Section} title="History" id="history" actions=${html`<${Choice} label="Time span" value=${range}
      options=${[["15m", "15 minutes"], ["24h", "24 hours"]]} onChange=${(value) => setQuery({ range: value === "15m" ? null : value })} />`}>
    ${history ? html`<${Trouble} error=${error} /><${Charts} history=${history} memory=${memory} />` : html`<${Missing} error=${error} what="the history" />`}
  <//>`;
}

function Charts({ history, memory }) {
  const { series } = history;
  const times = timesOf(history, series.received_records.length);
  const line = (label, name, colour) => ({ label, values: series[name] ?? [], colour });
  return html`<div class="charts">
    <${Chart} title="Records" times=${times} as="perSecond" series=${[
      line("in", "received_records", "accent"),
      line("out", "exported_records", "ok"),
      line("not delivered", "not_delivered_records", "error"),
    ]} />
    <${Chart} title="Received" times=${times} as="bytesPerSecond" series=${[line("bytes", "received_bytes", "accent")]} />
    <${Chart} title="Waiting" times=${times} as="bytes" series=${[line("pending", "pending_bytes", "warning")]} />
    <${Chart} title="Failed attempts" times=${times} as="perSecond" series=${[line("attempts", "failed_attempts", "error")]} />
    <${Chart} title="Memory" times=${times} as="bytes" limit=${memory.limit} series=${[line("used", "memory_bytes", "accent")]} />
    ${series.journal_bytes?.some((value) => value !== null) && html`<${Chart} title="Journal" times=${times} as="bytes" series=${[line("on disk", "journal_bytes", "accent")]} />`}
  </div>`;
}

function Reload({ reload }) {
  if (!reload) return null;
  return html`<${Section} title="Configuration" id="reload" actions=${html`<a href="/configuration">Open</a>`}>
    <${Facts} facts=${[
      ["Version in use", html`<code>${reload.version}</code>`],
      ["Loaded", html`<${Moment} at=${reload.loaded_at} />`],
      reload.last_error && ["Last reload failed", html`<${State} name="failed">${sentence(reload.last_error.error)}<//>`],
    ]} />
  <//>`;
}
