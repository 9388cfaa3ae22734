// All about one stream.
import { html } from "../lib/html.js";
import { useLive } from "../lib/live.js";
import { address, exporterAddress, tenantAddress } from "../lib/router.js";
import { Facts, Figure, Missing, Moment, PageHead, Section, Sign, State, Trouble, destinationSaid, sentence } from "../lib/parts.js";
import { Attempts } from "../lib/attempts.js";
import { HeldByOperator, HoldActions, isByOperator, isBySomebody } from "../lib/holds.js";
import { History } from "../lib/history.js";
import { Settings } from "../lib/settings.js";
import { inQuery } from "./tap_query.js";

export function StreamPage({ query }) {
  const id = Object.fromEntries(["exporter", "signal", "tenant", "key"].map((name) => [name, query.get(name)]));
  const { data, error } = useLive(address("/api/v1/streams/one", id));
  const title = id.key || id.exporter || "Stream";
  const head = (state, actions) => html`<${PageHead} title=${title} trail=${["/streams", "Streams"]} state=${state}>${actions}<//>`;
  if (!data) return html`${head()}<${Missing} error=${error} what="the stream" />`;
  return html`
    ${head(html`<${State} name=${data.state} />`, html`<${HoldActions} name=${title} path="/api/v1/streams" body=${nameOf(data)}
      held=${isByOperator(data.hold) && data.hold.scope === "stream"} waits=${waits(data)} />`)}
    <${Trouble} error=${error} />
    ${data.hold && html`<${Hold} hold=${data.hold} exporter=${data.exporter} />`}
    ${data.unanswered_seconds && html`<p class="notice warning"><${Sign} tone="warning" /><span>The upstream has not answered the attempt under way for <${Figure} value=${data.unanswered_seconds} as="duration" unit="seconds" />.</span></p>`}
    ${data.last_error && html`<${LastError} stream=${data} />`}
    <p class="links">
      <a href=${exporterAddress(data.exporter)}>Exporter ${data.exporter}</a>
      ${data.tenant && html`<a href=${tenantAddress(data.tenant)}>Tenant ${data.tenant}</a>`}
      <a href=${address("/dead-letters", nameOf(data))}>Its dead letters</a>
      <a href=${address("/tap", { query: tapQuery(data) })}>Watch its records</a>
    </p>
    <div class="columns">
      <${Section} title="Queue" id="queue"><${Facts} facts=${[
        ["Waiting", html`<${Figure} value=${data.pending_bytes} as="bytes" />`],
        ["Batches", html`<${Figure} value=${data.waiting_batches} as="exact" /> closed, <${Figure} value=${data.in_flight} as="exact" /> at hand`],
        ["Oldest waits for", html`<${Figure} value=${data.oldest_pending_seconds} as="duration" unit="seconds" />`],
        ["Failed in a row", html`<${Figure} value=${data.failed_attempts} as="exact" />`],
        ["Last delivered", html`<${Moment} at=${data.last_success} />`],
      ]} /><//>
      <${Section} title="Records" id="records"><${Facts} facts=${[
        ["Entries taken in", html`<${Figure} value=${data.admitted_entries} />`],
        ["Delivered", html`<${Figure} value=${data.delivered_records} unit="records" />`],
        ["Rejected", html`<${Figure} value=${data.rejected_records} unit="records" />`],
        ["Dead-lettered", html`<${Figure} value=${data.dead_lettered_records} unit="records" />`],
        ["Dropped", html`<${Figure} value=${data.dropped_records} unit="records" />`],
      ]} /><//>
      <${Section} title="Name" id="name"><${Facts} facts=${[
        ["Exporter", data.exporter],
        ["Signal", data.signal],
        ["Tenant", data.tenant],
        ["Key", html`<code>${data.key}</code>`],
        ...Object.entries(data.parts ?? {}).map(([name, value]) => [`Part ${name}`, html`<code>${value}</code>`]),
      ]} /><//>
    </div>
    <${History} of=${nameOf(data)} />
    <${Section} title="Last attempts" id="attempts"><${Attempts} attempts=${data.attempts}
      empty="None is known yet. Attempts are kept of the first 1,000 streams that fail, and of others from the first look on." /><//>
    <${Section} title="Settings of its exporter" id="settings"><${Settings} value=${data.settings} /><//>
  `;
}

/** What names a stream. */
const nameOf = ({ exporter, signal, tenant, key }) => ({ exporter, signal, tenant, key });

/** Whether it waits before another attempt, for nothing that somebody has wanted. */
const waits = ({ hold, failed_attempts: failed, pending_bytes: pending }) => pending > 0 && (failed > 0 || hold) && !isBySomebody(hold);

/** Why nothing is sent, unless it is for what the last error says, which is told by itself. */
function Hold({ hold, exporter }) {
  if (isByOperator(hold)) {
    const what = hold.scope === "exporter" ? html`All of <a href=${exporterAddress(exporter)}>${exporter}</a> is` : "It is";
    return html`<${HeldByOperator} what=${what} hold=${hold} />`;
  }
  if (hold.scope === "stream") return null;
  return html`<p class="notice warning"><${Sign} tone="warning" /><span>It is ${hold.reason}${hold.since && html`, since <${Moment} at=${hold.since} as="clock" />`}${hold.until && html`, until <${Moment} at=${hold.until} as="clock" />`}.</span></p>`;
}

/** How it went wrong last; a stream that is held waits for what ends that. */
function LastError({ stream }) {
  const { last_error: error, failed_attempts: failed } = stream;
  const severity = failed > 0 ? "error" : "info";
  const isHeld = stream.hold?.scope === "stream" && !isByOperator(stream.hold);
  return html`<p class="notice ${severity}"><${Sign} tone=${severity} /><span>
    ${isHeld && html`It is held since <${Moment} at=${stream.hold.since} as="clock" /> for this answer, and tried again less and less often: `}${destinationSaid(error)}${" "}
    <span class="note">${[error.target, error.of_stream && "an answer to another stream"].filter(Boolean).map((part) => `${part}, `)}<${Moment} at=${error.at} /></span>
  </span></p>`;
}

function tapQuery(stream) {
  const terms = [`exporter:${inQuery(stream.exporter)}`, `signal:${stream.signal}`];
  if (stream.tenant) terms.push(`tenant:${inQuery(stream.tenant)}`);
  if (stream.key) terms.push(`stream:${inQuery(stream.key)}`);
  return terms.join(" ");
}
