// The tap: records as they pass, decoded. Logs as a table, traces as waterfalls, metrics as sparklines; and the newest logs of
// those that have passed before.
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { follow } from "../lib/api.js";
import { report } from "../lib/live.js";
import { address, setQuery } from "../lib/router.js";
import { Choice, PageHead, Sign, State } from "../lib/parts.js";
import { count, exact, figure, nanoseconds, plural, words } from "../lib/format.js";
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

/** The series, each of them the points of one metric of one source, those first that began last. */
function Metrics({ records }) {
  const all = new Map();
  for (const record of records) {
    const key = seriesOf(record);
    if (!all.has(key)) all.set(key, []);
    all.get(key).push(record);
  }
  const shown = [...all.entries()].slice(-DRAWN);
  const differs = differing([...all.values()].map((points) => points[0]));
  const more = all.size - shown.length;
  return html`${more > 0 && html`<p class="note">The ${exact(DRAWN)} newest of ${exact(all.size)} series: a narrower query shows others.</p>`}
    <ul class="metrics">
      ${shown.map(([key, points]) => html`<${Series} key=${key} points=${points} differs=${differs} />`)}
    </ul>`;
}

/** What tells a series from others: who sends it, of which resource and scope, and the attributes of its points. */
const seriesOf = (record) => {
  const { tenant, exporter, stream, scope, metric } = record;
  return JSON.stringify([metric?.name, metric?.type, metric?.unit, tenant, exporter, stream, inOrderOfNames(record.resource), inOrderOfNames(scope), inOrderOfNames(record.attributes)]);
};

/** Names with their values in one order, since senders write them in any. */
const inOrderOfNames = (attributes) => Object.entries(attributes ?? {}).toSorted(([one], [other]) => (one < other ? -1 : 1));

/** Where a record comes from, beside what its point says by itself. */
const originOf = ({ tenant, exporter, stream, scope, resource }) => {
  const ofScope = Object.entries(scope ?? {}).filter(([name]) => name !== "name").map(([name, value]) => [`scope ${name}`, JSON.stringify(value)]);
  const own = { tenant, exporter, stream, scope: scope?.name, ...Object.fromEntries(ofScope) };
  // An attribute of a sender must not replace a field of Sluice of the same name. These fields are told first.
  return { ...own, ...resource, ...own };
};

/** The names by which series of one metric differ in where they come from, by the metric. */
function differing(series) {
  const metrics = new Map();
  for (const record of series) {
    const name = record.metric?.name;
    if (!metrics.has(name)) metrics.set(name, []);
    metrics.get(name).push(originOf(record));
  }
  return new Map([...metrics].map(([metric, origins]) => {
    const names = new Set(origins.flatMap((origin) => Object.keys(origin)));
    // What says the same as another, such as a tenant and the attribute that names it, is told once.
    const valuesOf = (name) => origins.map((origin) => JSON.stringify(origin[name]) ?? "");
    const told = new Set([valuesOf("service.name").join()]);
    return [metric, [...names].filter((name) => {
      const values = valuesOf(name);
      const isNew = new Set(values).size > 1 && !told.has(values.join());
      told.add(values.join());
      return isNew;
    })];
  }));
}

function Series({ points, differs }) {
  const { metric, service, attributes, ...record } = points.at(-1);
  const origin = originOf(record);
  const labels = [
    ...differs.get(metric?.name).filter((name) => origin[name] !== undefined && origin[name] !== null).map((name) => [name, origin[name]]),
    ...Object.entries(attributes ?? {}),
  ];
  const { values, now, said } = DISTRIBUTIONS.includes(metric?.type) ? distribution(points) : numbers(points);
  return html`<li class="card metric">
    <div class="metric-head"><b>${metric?.name}</b><span class="note">${words(metric?.type)}${metric?.unit ? `, ${metric.unit}` : ""}</span></div>
    <div class="note">${service}${labels.map(([name, value]) => ` ${name}=${textOf(value)}`).join("")}</div>
    <div class="metric-now"><${Sparkline} values=${values} /><span class="big">${now}</span></div>
    ${said && html`<div class="note">${said}</div>`}
  </li>`;
}

const DISTRIBUTIONS = ["histogram", "exponential_histogram", "summary"];

/** Values that are drawn of a series. */
const VALUES = 60;

const isNumber = (value) => typeof value === "number";

/** The values of a series of numbers. */
function numbers(points) {
  const values = points.map((point) => point.metric?.value).filter(isNumber).slice(-VALUES);
  const last = points.at(-1).metric?.value;
  return { values, now: isNumber(last) ? figure(last) : (last ?? "–"), said: null };
}

/**
 * The means of a series of distributions, each of the values that came with a point; where no sum is known, how many came in a
 * second. A cumulative point counts from its start, so that the values that came with it are those that the one before has not.
 */
function distribution(points) {
  const { metric } = points.at(-1);
  const steps = points.slice(-VALUES - 1).map((point, at, all) => step(point, all[at - 1])).filter(Boolean);
  const all = metric.value;
  const total = metric.temporality === "delta" ? `${count(all.count)} values came last` : `${count(all.count)} values in all`;
  const isSummed = isNumber(all.sum);
  const measured = isSummed ? steps.filter((one) => one.count > 0).map((one) => one.sum / one.count) : steps.map((one) => one.count / one.seconds);
  const values = measured.filter(Number.isFinite);
  // Before anything has come with a second point, the mean is that of all.
  const last = values.at(-1) ?? (isSummed && all.count > 0 ? all.sum / all.count : undefined);
  return { values, now: last === undefined ? "–" : figure(last), said: `${isSummed ? "mean" : "values a second"}; ${total}` };
}

/** What came with a point: nothing is known of the first of a cumulative series. */
function step({ metric, time }, before) {
  const seconds = before && (Date.parse(time) - Date.parse(before.time)) / 1000;
  if (metric.temporality === "delta") return { ...metric.value, seconds };
  if (!before) return null;
  // A count or a sum that shrinks has begun anew.
  const goesOn = metric.value.count >= before.metric.value.count && !(metric.value.sum < before.metric.value.sum);
  const { count, sum } = goesOn ? before.metric.value : { count: 0, sum: 0 };
  return { count: metric.value.count - count, sum: metric.value.sum - sum, seconds };
}

function Sparkline({ values }) {
  if (values.length < 2) return html`<svg class="sparkline" viewBox="0 0 120 30" aria-hidden="true"></svg>`;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, at) => `${((120 * at) / (values.length - 1)).toFixed(1)},${(27 - (24 * (value - low)) / (high - low || 1)).toFixed(1)}`);
  return html`<svg class="sparkline" viewBox="0 0 120 30" preserveAspectRatio="none" role="img" aria-label=${`${plural(values.length, "value")}, lowest ${figure(low)}, highest ${figure(high)}`}><polyline points=${points.join(" ")} /></svg>`;
}
