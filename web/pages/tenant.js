// All about one tenant.
import { html } from "../lib/html.js";
import { send } from "../lib/api.js";
import { useLive } from "../lib/live.js";
import { address, streamAddress, tenantAddress } from "../lib/router.js";
import { Counted, Facts, Figure, Meter, Missing, Moment, PageHead, Section, ShortTable, Sign, Snippet, State, Trouble, sentence } from "../lib/parts.js";
import { AttemptsOfStreams } from "../lib/attempts.js";
import { ActionButton } from "../lib/dialog.js";
import { TryNow, goneOn } from "../lib/holds.js";
import { History } from "../lib/history.js";
import { words } from "../lib/format.js";
import { inQuery } from "./tap_query.js";
import { threshold } from "./watches.js";

export function TenantPage({ name }) {
  const path = `/api/v1${tenantAddress(name)}`;
  const { data, error } = useLive(path);
  const head = (state, actions) => html`<${PageHead} title=${name} trail=${["/tenants", "Tenants"]} state=${state}>${actions}<//>`;
  if (!data) return html`${head()}<${Missing} error=${error} what="the tenant" />`;
  return html`
    ${head(data.states.map((state) => html`<${State} key=${state} name=${state} />`), data.senders && html`<${Actions} tenant=${data} path=${path} />`)}
    <${Trouble} error=${error} />
    ${data.problem && html`<p class="notice error"><${Sign} tone="error" /><span>${sentence(data.problem.text)} (since <${Moment} at=${data.problem.since} />)</span></p>`}
    ${data.firing_watches.map((firing) => html`<p key=${firing.watch} class="notice error"><${Sign} tone="error" /><span>The watch <a href="/watches">${firing.watch}</a> fires since <${Moment} at=${firing.since} as="clock" />: <${Counted} value=${firing.records} noun="record" /> matched, ${threshold(firing)}.</span></p>`)}
    <p class="links">
      <a href=${address("/streams", { tenant: name })}>Its streams</a>
      <a href=${address("/dead-letters", { tenant: name })}>Its dead letters</a>
      <a href=${address("/tap", { query: `tenant:${inQuery(name)}` })}>Watch its records</a>
    </p>
    <div class="columns">
      <${Section} title="Now" id="now"><${Now} tenant=${data} /><//>
      ${data.limits && html`<${Section} title="Limits" id="limits"><${Limits} limits=${data.limits} /><//>`}
    </div>
    <${Section} title="Records" id="records"><${Records} signals=${data.signals} /><//>
    <${History} of=${{ tenant: name }} />
    <${Section} title="Last failures" id="failures">
      <${ShortTable} label="Last failures" rows=${data.failures} empty="No attempt has failed." columns=${[
        { label: "Exporter", cell: (failure) => failure.exporter },
        { label: "Signal", cell: (failure) => failure.signal },
        { label: "Code", cell: (failure) => html`<code>${failure.code}</code>` },
        { label: "What the destination says", class: "text", cell: (failure) => sentence(failure.message) },
        { label: "When", cell: (failure) => html`<${Moment} at=${failure.at} />` },
      ]} />
    <//>
    <${Section} title="Last attempts" id="attempts">
      <${AttemptsOfStreams} attempts=${data.last_attempts} by=${["stream", "exporter", "signal"]} />
    <//>
    <${Section} title="Streams that have waited longest" id="streams">
      <${ShortTable} label="Streams" rows=${data.live_streams} empty="No stream is live." columns=${[
        { label: "Stream", cell: (stream) => html`<a href=${streamAddress(stream)}>${stream.key || stream.exporter}</a>` },
        { label: "Exporter", cell: (stream) => stream.exporter },
        { label: "Signal", cell: (stream) => stream.signal },
        { label: "State", cell: (stream) => html`<${State} name=${stream.state} />` },
        { label: "Waiting", number: true, cell: (stream) => html`<${Figure} value=${stream.pending_bytes} as="bytes" />` },
        { label: "Oldest", number: true, cell: (stream) => html`<${Figure} value=${stream.oldest_pending_seconds} as="duration" unit="seconds" />` },
      ]} />
    <//>
    ${data.senders && html`<${Section} title="Senders" id="senders"><${Senders} tenant=${data} path=${path} /><//>`}
  `;
}

const capital = (name) => words(name).replace(/^./, (first) => first.toUpperCase());

function Now({ tenant }) {
  return html`<${Facts} facts=${[
    ["Rate", html`<${Figure} value=${tenant.bytes_per_second} as="bytesPerSecond" />`],
    ["Waiting", html`<${Counted} value=${tenant.pending_records} noun="record" as="count" />, <${Figure} value=${tenant.pending_bytes} as="bytes" />`],
    ["Oldest waits for", html`<${Figure} value=${tenant.oldest_pending_seconds} as="duration" unit="seconds" />`],
    ["Streams", html`<${Figure} value=${tenant.streams} as="exact" />, <${Figure} value=${tenant.failing_streams} as="exact" /> failing`],
    ["Refused requests", html`<${Figure} value=${tenant.received.refused_requests} as="exact" />`],
    ["Last received", html`<${Moment} at=${tenant.last_received} />`],
    ["Last delivered", html`<${Moment} at=${tenant.last_success} />`],
    ["Platform", tenant.platform],
    ["Exporters", tenant.exporters?.join(", ")],
    ["Row", tenant.place && html`<code>${tenant.place}</code>`],
    ["Values", tenant.values && (Object.keys(tenant.values).join(", ") || "none")],
  ]} />`;
}

/** What is used of each limit; of what has none, how much is used. */
function Limits({ limits }) {
  const as = (name) => ({ rate: "bytesPerSecond", streams: "count" })[name] ?? "bytes";
  const all = Object.entries(limits);
  const limited = all.filter(([, { limit }]) => limit !== null);
  const open = all.filter(([, { limit, used }]) => limit === null && used > 0);
  return html`
    ${limited.length > 0 && html`<div class="meters">
      ${limited.map(([name, { limit, used }]) => html`<${Meter} key=${name} label=${capital(name)} used=${used ?? 0} limit=${limit} as=${as(name)} />`)}
    </div>`}
    ${open.length > 0 && html`<${Facts} facts=${open.map(([name, { used }]) => [capital(name), html`<${Figure} value=${used} as=${as(name)} /> <span class="note">(no limit)</span>`])} />`}
    ${limited.length === 0 && open.length === 0 && html`<p class="empty">There is no limit.</p>`}
  `;
}

function Records({ signals }) {
  const cell = (pick) => (row) => html`<${Figure} value=${pick(row[1])} unit="records" />`;
  return html`<${ShortTable} label="Records by signal" rows=${Object.entries(signals ?? {})} columns=${[
    { label: "Signal", cell: (row) => row[0] },
    { label: "Bytes in", number: true, cell: (row) => html`<${Figure} value=${row[1].received.bytes} as="bytes" />` },
    { label: "Accepted", number: true, cell: cell((of) => of.received.records.accepted) },
    { label: "Refused", number: true, cell: cell((of) => of.received.records.refused) },
    { label: "Routed", number: true, cell: cell((of) => of.records.routed) },
    { label: "Delivered", number: true, cell: cell((of) => of.records.delivered) },
    { label: "Rejected", number: true, cell: cell((of) => of.records.rejected) },
    { label: "Dead-lettered", number: true, cell: cell((of) => of.records.dead_lettered) },
    { label: "Dropped", number: true, cell: cell((of) => of.records.dropped) },
  ]} />`;
}

function Senders({ tenant, path }) {
  return html`<${ShortTable} label="Senders" rows=${tenant.senders} empty="Nobody may send for this tenant." columns=${[
    { label: "Name", cell: (sender) => sender.name },
    { label: "Kind", cell: (sender) => words(sender.kind) },
    { label: "Credential", cell: (sender) => html`<code>${sender.credential}</code>` },
    { label: "Expires", cell: (sender) => (sender.expires ? html`<${Moment} at=${sender.expires} as="clock" />` : "never") },
    { label: "Last used", cell: (sender) => html`<${Moment} at=${sender.last_used} />` },
    { label: "From", cell: (sender) => sender.last_used_from },
    { label: "Token", cell: (sender) => html`<${ActionButton} label="Rotate" action=${rotation(tenant, sender, path)} />` },
  ]} />`;
}

function rotation(tenant, sender, path) {
  return {
    title: `Give ${sender.name} of ${tenant.id} another token?`,
    text: "The new token is shown once. The old one goes on for as long as you say here, so that the sender can be changed in between.",
    fields: [{ name: "overlap", label: "The old token goes on for", value: "1h", hint: "such as 30m or 24h; 0s ends it at once" }],
    confirm: "Rotate",
    run: async ({ overlap }) => {
      const { token, former } = await send("POST", `${path}/rotate`, { sender: sender.name, overlap });
      return html`<p>The new token, which is shown only now:</p>
        <${Snippet} text=${token} />
        ${former && html`<p class="note">The old one goes on as ${former.name} until ${former.expires ?? former.until}.</p>`}`;
    },
  };
}

function Actions({ tenant, path }) {
  const change = (verb, title, text, confirm, said) => ({
    title,
    text,
    confirm,
    run: async () => said(await send("POST", `${path}/${verb}`)),
  });
  const id = tenant.id;
  const pause = tenant.paused
    ? ["Resume", change("resume", `Take on the senders of ${id} again?`, null, "Resume", () => `${id} is resumed.`)]
    : ["Pause", change("pause", `Refuse the senders of ${id}?`, "Its senders are answered 503 until you resume it. What is queued is delivered.", "Pause", () => `${id} is paused.`)];
  const hold = tenant.hold
    ? ["Release", change("release", `Deliver the records of ${id} again?`, null, "Release", (answer) => `${id} is released: ${goneOn(answer)}.`)]
    : ["Hold", change("hold", `Deliver nothing of ${id} for now?`, "Its records are queued until you release it, or until there is no more room.", "Hold", () => `${id} is held.`)];
  const waits = !tenant.hold && (tenant.failing_streams > 0 || tenant.states.includes("held"));
  return html`${waits && html`<${TryNow} key="try" name=${id} path=${path} />`}
    ${[pause, hold].map(([label, action]) => html`<${ActionButton} key=${label} label=${label} action=${action} />`)}`;
}
