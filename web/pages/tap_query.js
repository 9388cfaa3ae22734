// What the tap is asked for: which records, and whether as they pass or as they have passed.
import { html } from "../lib/html.js";
import { setQuery } from "../lib/router.js";
import { Choice, Sign, sentence } from "../lib/parts.js";
import { asSentence } from "../lib/format.js";

/** Whether records are shown as they pass, or as they have passed. */
export function TapChoice({ value }) {
  return html`<${Choice} label="Records" value=${value} options=${[["live", "As they pass"], ["recent", "Recent logs"]]}
    onChange=${(of) => setQuery({ of: of === "live" ? null : of, view: null, run: null })} />`;
}

/** The longest name that a query is given whole, escapes included; of a longer one its beginning. */
const WHOLE_NAME = 2500;
const BEGINNING = 100;

/** The name of a tenant, a stream or an exporter as a value in a query. */
export function inQuery(name) {
  const escaped = name.replaceAll(/["\\]/g, "\\$&");
  if (escaped.length <= WHOLE_NAME) return /^[\w.][\w./-]*$/.test(name) ? name : `"${escaped}"`;
  return `${Array.from(name).slice(0, BEGINNING).map((char) => (/\w/.test(char) ? char : `\\${char}`)).join("")}*`;
}

/** The query with the place where it is wrong; columns count characters from 1. */
function Wrong({ query, column }) {
  const chars = Array.from(query);
  const part = (from, to) => chars.slice(from, to).join("");
  return html`<pre class="query-error">${part(0, column - 1)}<mark>${part(column - 1, column) || " "}</mark>${part(column)}</pre>`;
}

/** That whoever asks may not see records, and what would show them. */
function Refused({ error }) {
  return html`<p class="notice info"><${Sign} tone="info" /><span>${error.status === 401
    ? "Records are shown to whoever has the read token, also on this machine."
    : sentence(asSentence(error.message))}</span>
    ${error.status === 401 && html`<button type="button" class="small" onClick=${() => dispatchEvent(new Event("tokenwanted"))}>Enter the token</button>`}</p>`;
}

/** The query, and where it is wrong. */
export function QueryForm({ asked, error, action }) {
  const submit = (event) => {
    event.preventDefault();
    setQuery({ query: new FormData(event.target).get("query").trim() }, { replace: false });
  };
  const column = error?.body?.column;
  const isRefused = error?.status === 401 || error?.status === 403;
  return html`<form class="tap-query" role="search" onSubmit=${submit}>
    <label class="field wide"><span>Query</span>
      <input name="query" type="search" defaultValue=${asked} autocomplete="off" autocapitalize="off" spellcheck=${false} aria-describedby="query-said" aria-invalid=${error && !isRefused ? "true" : "false"}
        placeholder=${'level:error service:api "connection refused" status:>=500'} /></label>
    <button type="submit" class="primary">${action}</button>
    <div id="query-said" role="status">
      ${isRefused ? html`<${Refused} error=${error} />` : error && html`${column && html`<${Wrong} query=${asked} column=${column} />`}
        <p class="notice error"><${Sign} tone="error" /><span>${column ? `Column ${column}: ` : ""}${sentence(error.message)}</span></p>`}
    </div>
  </form>`;
}
