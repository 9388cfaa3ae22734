// The tap: records as they pass, decoded. Logs as a table, traces as waterfalls, metrics as sparklines; and the newest logs of
// those that have passed before.
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { follow } from "../lib/api.js";
import { report } from "../lib/live.js";
import { address, setQuery } from "../lib/router.js";
import { Choice, PageHead, Sign, State } from "../lib/parts.js";
import { count, exact, nanoseconds, plural } from "../lib/format.js";
import { Logs, textOf } from "./logs.js";
import { Recent } from "./recent.js";
import { QueryForm, TapChoice } from "./tap_query.js";

/** Records that are kept of what has passed; and logs, traces and metrics that are shown of them. */
const KEPT = 1000;
const DRAWN = 40;
const LISTED = 300;
const VIEWS = [["logs", "Logs"], ["traces", "Traces"], ["metrics", "Metrics"]];

export function Tap({ query }) {
  return query.get("of") === "recent" ? html`<${Recent} query=${query} />` : html`<${Live} query=${query} />`;
}

function Live({ query }) {
  const asked = query.get("query") ?? "";
  const view = VIEWS.some(([name]) => name === query.get("view")) ? query.get("view") : "logs";
  const running = query.get("run") !== "no";
  const tap = useTap(asked, running);
  const shown = useMemo(() => tap.records.filter((record) => record.signal === view), [tap.records, view]);
  const isRefused = tap.error?.status === 401 || tap.error?.status === 403;
  const counts = Object.fromEntries(VIEWS.map(([name]) => [name, tap.records.filter((record) => record.signal === name).length]));
  return html`
    <${PageHead} title="Tap" state=${html`<${State} name=${running ? (tap.error ? (isRefused ? "idle" : "failed") : "live") : "paused"}>${running ? (tap.error ? "not watching" : "watching") : "paused"}<//>`}>
      <${TapChoice} value="live" />
      <button type="button" onClick=${() => setQuery({ run: running ? "no" : null })}>${running ? "Pause" : "Go on"}</button>
      <button type="button" onClick=${tap.clear}>Clear</button>
    <//>
    <${QueryForm} key=${asked} asked=${asked} error=${tap.error} action="Watch" />
    ${!isRefused && html`<div class="tap-bar">
      <${Choice} label="Signal" value=${view} onChange=${(name) => setQuery({ view: name === "logs" ? null : name })}
        options=${VIEWS.map(([name, label]) => [name, html`${label} <span class="number">${count(counts[name])}</span>`])} />
      <span class="note">The newest ${exact(KEPT)} are kept.${tap.leftOut > 0 ? ` ${plural(tap.leftOut, "record")} left out, since more pass than a tap shows.` : ""}</span>
    </div>`}
    ${shown.length === 0
      ? !tap.error && html`<p class="empty">${running ? "Nothing has passed yet that fits." : "Paused."}</p>`
      : view === "logs" ? html`<${Logs} records=${shown.toReversed().slice(0, LISTED)} />`
      : view === "traces" ? html`<${Traces} records=${shown} />`
      : html`<${Metrics} records=${shown} />`}
  `;
}

/** The records that pass, the newest last; they are shown four times a second, however many there are. */
function useTap(query, running) {
  const [state, setState] = useState({ records: [], leftOut: 0 });
  const [error, setError] = useState(null);
  const waiting = useRef({ records: [], leftOut: 0, number: 0 });
  const clear = () => setState({ records: [], leftOut: 0 });
  useEffect(clear, [query]);
  useEffect(() => {
    if (!running) return undefined;
    setError(null);
    const id = Symbol("tap");
    const stop = follow(address("/api/v1/tap", { query }), {
      event: (name, data) => {
        if (name === "record") {
          waiting.current.number += 1;
          waiting.current.records.push({ ...data, number: waiting.current.number });
        } else if (name === "left_out") {
          waiting.current.leftOut += data.count;
        }
      },
      state: (how, failure) => {
        report(id, how);
        setError(how === "live" ? null : failure);
        if (failure?.status === 401) dispatchEvent(new Event("tokenwanted"));
      },
    });
    const timer = setInterval(() => {
      const { records, leftOut } = waiting.current;
      if (records.length === 0 && leftOut === 0) return;
      waiting.current.records = [];
      waiting.current.leftOut = 0;
      setState((before) => ({ records: [...before.records, ...records].slice(-KEPT), leftOut: before.leftOut + leftOut }));
    }, 250);
    return () => {
      stop();
      report(id, null);
      clearInterval(timer);
    };
  }, [query, running]);
  return { ...state, error, clear };
}

/** Spans by their traces, those first that have begun last. */
function Traces({ records }) {
  const traces = new Map();
  for (const span of records) {
    if (!traces.has(span.trace_id)) traces.set(span.trace_id, []);
    traces.get(span.trace_id).push(span);
  }
  const all = [...traces.entries()].toReversed().slice(0, DRAWN);
  return all.map(([id, spans]) => html`<${Trace} key=${id} id=${id} spans=${spans} />`);
}

function Trace({ id, spans }) {
  const timed = inOrder(spans.map((span) => ({ ...span, begin: Date.parse(span.time ?? spans[0].time) || 0, length: (span.duration_ns ?? 0) / 1e6 })));
  const begin = Math.min(...timed.map((span) => span.begin));
  const end = Math.max(...timed.map((span) => span.begin + span.length));
  const whole = Math.max(end - begin, 0.001);
  return html`<section class="card trace" aria-label=${`Trace ${id}`}>
    <div class="card-head"><h2><code>${id}</code></h2><span class="note">${plural(spans.length, "span")}, ${nanoseconds(whole * 1e6)}</span></div>
    <ol class="waterfall">
      ${timed.slice(0, 100).map((span) => html`<li key=${span.number}>
        <span class="span-name" style=${{ paddingLeft: `${Math.min(span.depth, 8) * 12}px` }} title=${span.name}>${isFailed(span) && html`<${Sign} tone="error" />`}${span.name} <span class="note">${span.service}</span></span>
        <span class="span-place"><span class=${`span-bar ${isFailed(span) ? "error" : ""}`} style=${{
          marginLeft: `${((100 * (span.begin - begin)) / whole).toFixed(2)}%`,
          width: `max(2px, ${((100 * span.length) / whole).toFixed(2)}%)`,
        }}></span></span>
        <span class="span-time">${nanoseconds(span.duration_ns)}</span>
      </li>`)}
    </ol>
  </section>`;
}

const isFailed = (span) => (span.level ?? "").toLowerCase() === "error";

/** Each span behind its parent, and how deep it is. */
function inOrder(spans) {
  const known = new Set(spans.map((span) => span.span_id));
  const children = new Map();
  for (const span of spans.toSorted((a, b) => a.begin - b.begin)) {
    const parent = known.has(span.parent_span_id) && span.parent_span_id !== span.span_id ? span.parent_span_id : "";
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(span);
  }
  const ordered = [];
  const add = (parent, depth) => {
    const list = children.get(parent) ?? [];
    children.delete(parent);
    for (const span of list) {
      ordered.push({ ...span, depth });
      add(span.span_id, depth + 1);
    }
  };
  add("", 0);
  // Spans that name each other as parents hang on nothing.
  for (const parent of [...children.keys()]) add(parent, 0);
  return ordered;
}

/** The newest values of each metric. */
function Metrics({ records }) {
  const metrics = new Map();
  for (const record of records) {
    const key = JSON.stringify([record.metric?.name, record.service, record.attributes]);
    if (!metrics.has(key)) metrics.set(key, []);
    metrics.get(key).push(record);
  }
  return html`<ul class="metrics">
    ${[...metrics.entries()].slice(-DRAWN).map(([key, points]) => html`<${Metric} key=${key} points=${points} />`)}
  </ul>`;
}

function Metric({ points }) {
  const { metric, service, attributes } = points.at(-1);
  const values = points.map((point) => point.metric?.value).filter((value) => typeof value === "number").slice(-60);
  return html`<li class="card metric">
    <div class="metric-head"><b>${metric?.name}</b><span class="note">${metric?.type}${metric?.unit ? `, ${metric.unit}` : ""}</span></div>
    <div class="note">${service}${Object.entries(attributes ?? {}).map(([name, value]) => ` ${name}=${textOf(value)}`).join("")}</div>
    <div class="metric-now"><${Sparkline} values=${values} /><span class="big">${values.length > 0 ? count(values.at(-1)) : textOf(metric?.value)}</span></div>
  </li>`;
}

function Sparkline({ values }) {
  if (values.length < 2) return html`<svg class="sparkline" viewBox="0 0 120 30" aria-hidden="true"></svg>`;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, at) => `${((120 * at) / (values.length - 1)).toFixed(1)},${(27 - (24 * (value - low)) / (high - low || 1)).toFixed(1)}`);
  return html`<svg class="sparkline" viewBox="0 0 120 30" preserveAspectRatio="none" role="img" aria-label=${`${plural(values.length, "value")}, lowest ${count(low)}, highest ${count(high)}`}><polyline points=${points.join(" ")} /></svg>`;
}
