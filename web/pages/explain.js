// Where each entry of a payload would go, and why.
import { html, useRef, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { address, exporterAddress } from "../lib/router.js";
import { Section, Sign, State, sentence } from "../lib/parts.js";
import { bytes, plural, words } from "../lib/format.js";

const SIGNALS = [["", "as the payload says"], ["traces", "traces"], ["metrics", "metrics"], ["logs", "logs"]];

export function Explain() {
  const [signal, setSignal] = useState("");
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const payload = useRef(null);
  // The newest question: an answer to an earlier one may come behind its own.
  const asked = useRef(0);
  const ask = async (event) => {
    event.preventDefault();
    asked.current += 1;
    const question = asked.current;
    setError(null);
    setAnswer(null);
    try {
      const said = await send("POST", address("/api/v1/explain", { signal }), payload.current.value);
      if (question === asked.current) setAnswer(said);
    } catch (failure) {
      if (question !== asked.current) return;
      setError(failure);
      if (failure.status === 401) dispatchEvent(new Event("tokenwanted"));
    }
  };
  return html`<${Section} title="Where would it go?" id="explain">
    <form class="explain" onSubmit=${ask}>
      <label class="field wide"><span>An OTLP request in JSON</span>
        <textarea ref=${payload} rows="8" spellcheck=${false} required placeholder=${'{"resourceLogs":[{"resource":{"attributes":[…]}, …}]}'}></textarea></label>
      <div class="explain-ask">
        <label class="field"><span>Signal</span><select onChange=${(event) => setSignal(event.target.value)}>
          ${SIGNALS.map(([name, text]) => html`<option key=${name} value=${name} selected=${name === signal}>${text}</option>`)}
        </select></label>
        <button type="submit" class="primary">Explain</button>
      </div>
    </form>
    <div aria-live="polite">
      ${error && html`<p class="notice error"><${Sign} tone="error" /><span>${sentence(error.message)}</span></p>`}
      ${answer && html`<${Explained} answer=${answer} />`}
    </div>
  <//>`;
}

function Explained({ answer }) {
  return html`
    ${answer.cuts.map((cut) => html`<p class="notice error"><${Sign} tone="error" /><span>Cut out, as no valid OTLP: <code>${cut.path}</code> at byte ${cut.offset}: ${sentence(cut.reason)}</span></p>`)}
    ${answer.ignored.map((text) => html`<p class="notice warning"><${Sign} tone="warning" /><span>${sentence(text)}</span></p>`)}
    ${answer.entries_total === 0 && answer.cuts.length === 0 && html`<p class="note">The request is empty: it would be answered 200 and go nowhere.</p>`}
    ${answer.entries.map((entry) => html`<${Entry} key=${entry.index} entry=${entry} />`)}
    ${answer.truncated && html`<p class="note">${answer.entries.length} of ${answer.entries_total} entries are explained.</p>`}
  `;
}

function Entry({ entry }) {
  return html`<section class="explained">
    <h3>Entry ${entry.index + 1}: ${plural(entry.records, "record")}, ${bytes(entry.bytes)}${entry.tenant && html`, of tenant ${entry.tenant}`}</h3>
    ${entry.not_taken && html`<p><${State} name="error">not taken<//>: ${sentence(entry.not_taken)}</p>`}
    ${entry.parts.map((part, at) => html`<div key=${at}>
      ${entry.parts.length > 1 && html`<h4>Part ${at + 1}: ${plural(part.records, "record")}</h4>`}
      <ol class="asked-routes">${part.routes.map((route, number) => html`<li key=${number}><${Route} route=${route} /></li>`)}</ol>
      ${part.unrouted && html`<p><${State} name=${part.unrouted.outcome === "dropped" ? "warning" : "error"}>${words(part.unrouted.outcome)}<//>: ${sentence(part.unrouted.why)}</p>`}
      ${part.hints.map((hint) => html`<p class="note">${sentence(hint)}</p>`)}
    </div>`)}
  </section>`;
}

/** What each outcome of a route is like. */
const OUTCOMES = { sent: "ok", not_taken: "idle", already_in_stream: "idle", held: "held", rejected: "rejected" };

/** What a route makes of a part. */
function Route({ route }) {
  return html`
    <code>${route.route}</code> <${State} name=${OUTCOMES[route.outcome] ?? "info"}>${words(route.outcome)}<//>
    ${route.exporter && html` to <a href=${exporterAddress(route.exporter)}>${route.exporter}</a>${route.key && html`, stream <code>${route.key}</code>`}`}
    ${route.why && html`: ${sentence(route.why)}`}
    ${route.target && html`<div class="note"><code>${route.target}</code></div>`}
    ${(route.headers ?? []).map((header) => html`<div class="note"><code>${header}</code></div>`)}
    ${route.edited_by && html`<div class="note">edited by ${route.edited_by.processors.join(", ")}</div>`}
  `;
}
