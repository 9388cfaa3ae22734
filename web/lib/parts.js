// The small parts that pages are made of.
import { html, useEffect, useRef, useState } from "./html.js";
import * as format from "./format.js";

/** A figure: what is read, and the raw number for who needs it exactly. */
export function Figure({ value, as = "count", unit = "" }) {
  if (typeof value !== "number") return html`<span class="none">–</span>`;
  const title = `${format.exact(value)}${unit ? ` ${unit}` : ""}`;
  return html`<data value=${value} title=${title}>${format[as](value)}</data>`;
}

/** A figure with what is counted: `1 batch`, `2 batches`. */
export const Counted = ({ value, noun, as = "exact" }) => html`<${Figure} value=${value} as=${as} unit=${`${noun}s`} /> ${format.nounFor(value, noun)}`;

/** A sentence of Sluice's, in which what stands between backticks is a name or a value. */
export const sentence = (text) =>
  String(text ?? "").split("`").map((part, at) => (at % 2 ? html`<code key=${at}>${part}</code>` : part));

/** A moment, as how long ago it was, or as its clock. */
export function Moment({ at, as = "ago" }) {
  if (!at) return html`<span class="none">–</span>`;
  return html`<time datetime=${at} title=${at}>${format[as](at)}</time>`;
}

const TONES = {
  error: ["error", "broken", "failing", "failed", "firing", "rejected"],
  warning: ["warning", "backing_off", "over_limit", "held", "paused", "draining", "open"],
  ok: ["ok", "sending", "live", "ready", "loaded", "closed", "succeeded"],
  info: ["info", "waiting", "starting", "half_open"],
};

const SHAPES = {
  error: "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2L1.5 10.8V5.2zM8 4.5v4M8 10.7v.6",
  warning: "M8 2 14.5 13.5h-13zM8 6.5v3.5M8 11.6v.5",
  ok: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 1 0 0-13zM5 8.2l2 2 4-4.2",
  info: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 1 0 0-13zM8 4.5V8l2.5 1.5",
  idle: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 1 0 0-13zM5 8h6",
};

/** How bad a state is: `error`, `warning`, `info`, `ok` or `idle`. */
export const tone = (state) => Object.keys(TONES).find((tone) => TONES[tone].includes(state)) ?? "idle";

export function Sign({ tone }) {
  return html`<svg class="sign ${tone}" viewBox="0 0 16 16" aria-hidden="true"><path d=${SHAPES[tone]} /></svg>`;
}

/** A state as a sign with its word: the colour alone says nothing. */
export function State({ name, children }) {
  const kind = tone(name);
  return html`<span class="state ${kind}"><${Sign} tone=${kind} />${children ?? format.words(name)}</span>`;
}

/** How much of a limit is used. */
export function Meter({ label, used, limit, as = "bytes", note }) {
  const share = limit > 0 ? Math.min(1, used / limit) : 0;
  const level = share >= 0.9 ? "error" : share >= 0.7 ? "warning" : "ok";
  const said = limit > 0 ? `${format[as](used)} of ${format[as](limit)}` : format[as](used);
  return html`<div class="meter">
    <div class="meter-head">
      <span class="label">${label}</span>
      <span class="value"><${Figure} value=${used} as=${as} />
        ${limit > 0 && html`<span class="of"> of <${Figure} value=${limit} as=${as} /></span>`}</span>
    </div>
    ${limit > 0 && html`<div class="bar ${level}" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${limit}
      aria-valuenow=${Math.min(used, limit)} aria-valuetext="${said}, ${format.percent(used, limit)}">
      <span style=${{ width: `${(100 * share).toFixed(2)}%` }}></span>
    </div>`}
    ${note && html`<p class="note">${note}</p>`}
  </div>`;
}

export function Section({ title, id, actions, children, class: name = "" }) {
  return html`<section class="card ${name}" aria-labelledby=${id}>
    <div class="card-head"><h2 id=${id}>${title}</h2>${actions}</div>
    ${children}
  </section>`;
}

/** Names and what they are. */
export function Facts({ facts }) {
  return html`<dl class="facts">
    ${facts
      .filter((fact) => fact && fact[1] !== undefined)
      .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value ?? html`<span class="none">–</span>`}</dd></div>`)}
  </dl>`;
}

/** A short table, all of which is shown. */
export function ShortTable({ label, columns, rows, empty = "None." }) {
  if (!rows || rows.length === 0) return html`<div class="empty">${empty}</div>`;
  return html`<div class="scroll" tabindex="0" role="group" aria-label=${label}>
    <table class="short">
      <thead><tr>${columns.map((column) => html`<th scope="col" class=${column.number ? "number" : ""}>${column.label}</th>`)}</tr></thead>
      <tbody>
        ${rows.map((row, index) => html`<tr key=${index}>
          ${columns.map((column, at) =>
            at === 0
              ? html`<th scope="row">${column.cell(row)}</th>`
              : html`<td class=${column.number ? "number" : (column.class ?? "")}>${column.cell(row)}</td>`)}
        </tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** What is shown in place of a resource that is not there yet, or can't be had. */
export function Missing({ error, what }) {
  if (!error) return html`<p class="loading" role="status">Reading ${what} …</p>`;
  if (error.status === 404) return html`<p class="notice error"><${Sign} tone="error" /><span>${sentence(error.message)}</span></p>`;
  return html`<p class="notice error" role="alert"><${Sign} tone="error" /><span>Can't read ${what}: ${sentence(error.message)}</span>
    ${error.status === 401 && html`<button type="button" class="small" onClick=${() => dispatchEvent(new Event("tokenwanted"))}>Enter a token</button>`}</p>`;
}

/** Said beside what is shown while it is not up to date. */
export function Trouble({ error }) {
  return error && html`<p class="notice warning" role="alert"><${Sign} tone="warning" />
    <span>Not up to date: ${sentence(error.message)}. ${error.status ? "" : "It is tried again."}</span></p>`;
}

export function CopyButton({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 2000);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
  };
  // Without TLS a browser lets pages write to the clipboard on loopback alone.
  if (!navigator.clipboard) return null;
  return html`<button type="button" class="small" onClick=${copy}>${done ? "Copied" : label}</button>`;
}

/** Lines to copy. */
export function Snippet({ text }) {
  return html`<div class="command"><pre tabindex="0"><code>${text}</code></pre><${CopyButton} text=${text} /></div>`;
}

/** What is not configured yet, and the lines that do. */
export function NotConfigured({ text, lines }) {
  return html`<p>${text} Write such lines into the configuration, and reload it:</p><${Snippet} text=${lines} />`;
}

/** What a destination has said, with its code where the words do not begin with that. */
export const destinationSaid = ({ code, message }) => (message.startsWith(code) ? sentence(message) : html`<code>${code}</code>: ${sentence(message)}`);

/**
 * A field that says what was typed once the typing pauses. What is not `usable(text)` is no value yet: it is said by `onUnusable(text)` once
 * the field is left, and by `onUnusable(null)` when that is over.
 */
export function Field({ label, name, value, onChange, type = "search", placeholder, options, list, size = "", usable, onUnusable, invalid = false, saidBy }) {
  const timer = useRef(null);
  const input = useRef(null);
  // What comes with the address is shown, but not while somebody is typing here.
  useEffect(() => {
    if (!input.current || input.current === document.activeElement) return;
    input.current.value = value ?? "";
    onUnusable?.(null);
  }, [value]);
  const later = (event) => {
    const typed = event.target.value;
    clearTimeout(timer.current);
    if (usable && !usable(typed)) return;
    onUnusable?.(null);
    timer.current = setTimeout(() => onChange(typed), 250);
  };
  return html`<label class="field ${size}"><span>${label}</span>
    ${options
      ? html`<select name=${name} value=${value ?? ""} onChange=${(event) => onChange(event.target.value)}>
          ${options.map(([option, text]) => html`<option key=${option} value=${option} selected=${option === (value ?? "")}>${text}</option>`)}
        </select>`
      : html`<input ref=${input} type=${type} name=${name} defaultValue=${value ?? ""} placeholder=${placeholder} list=${list}
          autocomplete="off" autocapitalize="off" spellcheck=${false} aria-invalid=${usable && (invalid ? "true" : "false")} aria-describedby=${invalid ? saidBy : undefined}
          onInput=${later} onChange=${(event) => usable && onUnusable(usable(event.target.value) ? null : event.target.value)} />`}
  </label>`;
}

/** One of a few choices, as a row of buttons. */
export function Choice({ label, value, options, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([option, text]) => html`<button type="button" key=${option} aria-pressed=${option === value ? "true" : "false"}
      onClick=${() => onChange(option)}>${text}</button>`)}
  </div>`;
}

/** The heading of a page, which gets the focus when the page is opened. */
export function PageHead({ title, trail, state, children }) {
  useEffect(() => {
    document.title = `${title} · Sluice`;
  }, [title]);
  return html`<div class="page-head">
    ${trail && html`<nav class="trail" aria-label="Breadcrumb"><span aria-hidden="true">‹ </span><a href=${trail[0]}>${trail[1]}</a></nav>`}
    <h1 id="title" tabindex="-1">${title}</h1>
    ${state}
    <div class="page-actions">${children}</div>
  </div>`;
}
