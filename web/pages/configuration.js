// The configuration in use, what a changed file would do, what was loaded before, and where a payload would go.
import { html, useRef, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { useLive } from "../lib/live.js";
import { address } from "../lib/router.js";
import { Facts, Missing, Moment, PageHead, Section, ShortTable, Sign, State, Trouble, sentence } from "../lib/parts.js";
import { ActionButton } from "../lib/dialog.js";
import { Settings } from "../lib/settings.js";
import { bytes, exact, plural } from "../lib/format.js";

export function Configuration() {
  const { data, error } = useLive("/api/v1/config");
  if (!data) return html`<${PageHead} title="Configuration" /><${Missing} error=${error} what="the configuration" />`;
  const problems = [...(data.problems ?? []), ...(data.last_error?.problems ?? [])];
  return html`
    <${PageHead} title="Configuration" state=${html`<${State} name=${data.last_error ? "failed" : "loaded"}>${data.last_error ? "last reload failed" : "loaded"}<//>`} />
    <${Trouble} error=${error} />
    ${data.last_error && html`<p class="notice error"><${Sign} tone="error" /><span>The reload of <${Moment} at=${data.last_error.at} as="clock" /> failed, so that version ${data.version} stays in use: ${sentence(data.last_error.error)}</span></p>`}
    <${Section} title="In use" id="in-use"><${Facts} facts=${[
      ["Source", html`<code>${typeof data.source === "string" ? data.source : JSON.stringify(data.source)}</code>`],
      ["Version", html`<code>${data.version}</code>`],
      ["Loaded", html`<${Moment} at=${data.loaded_at} />`],
    ]} />
      ${(data.warnings ?? []).map((warning) => html`<p class="notice warning"><${Sign} tone="warning" /><span>${sentence(textOf(warning))}</span></p>`)}
    <//>
    <${Pending} />
    <${Section} title="The file" id="file"><${File} text=${data.text} config=${data.config} problems=${problems} /><//>
    <${Section} title="Reloads" id="reloads">
      <${ShortTable} label="Reloads" rows=${data.reloads ?? []} empty="None yet." columns=${[
        { label: "When", cell: (reload) => html`<${Moment} at=${reload.at} as="clock" />` },
        { label: "Outcome", cell: (reload) => html`<${State} name=${reload.outcome} />` },
        { label: "Version", cell: (reload) => html`<code>${reload.version}</code>` },
        { label: "Problem", class: "text", cell: (reload) => reload.error },
      ]} />
    <//>
    <${Explain} />
  `;
}

/** A problem or a warning with what to write instead. */
function textOf(one) {
  if (typeof one === "string") return one;
  const message = one.message ?? one.error ?? JSON.stringify(one);
  return one.help ? `${message}: ${one.help}` : message;
}

/** What the file on disk would change. */
function Pending() {
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const reload = {
    title: "Read the configuration again?",
    text: "The file is put to use if it has no problem; else what is in use stays.",
    confirm: "Reload",
    run: async () => {
      const { version } = await send("POST", "/api/v1/reload");
      setResult(null);
      return `Version ${version} is in use.`;
    },
  };
  const dryRun = async () => {
    setError(null);
    try {
      setResult(await send("POST", "/api/v1/reload?dry_run=true"));
    } catch (failure) {
      // That the file can't be used is a result as well.
      if (failure.status === 422) setResult({ valid: false, ...failure.body });
      else setError(failure);
      if (failure.status === 401) dispatchEvent(new Event("tokenwanted"));
    }
  };
  return html`<${Section} title="The file on disk" id="pending"
    actions=${html`<button type="button" onClick=${dryRun}>Dry run</button><${ActionButton} label="Reload" action=${reload} />`}>
    <div aria-live="polite">
      ${error && html`<p class="notice error"><${Sign} tone="error" /><span>${sentence(error.message)}</span></p>`}
      ${result ? html`<${DryRun} result=${result} />` : html`<p class="note">A dry run says what a reload would do, and changes nothing.</p>`}
    </div>
  <//>`;
}

function DryRun({ result }) {
  const restart = result.needs_restart ?? [];
  const kinds = ["receivers", "routes", "exporters"].filter((kind) => result[kind]);
  const lines = kinds.flatMap((kind) => changesOf(kind, result[kind]));
  const drains = result.streams_to_drain > 0;
  return html`
    <p><${State} name=${result.valid ? "ok" : "error"}>${result.valid ? "It can be used" : (result.error ?? "It can't be used")}<//></p>
    ${(result.problems ?? []).map((problem) => html`<p class="notice error"><${Sign} tone="error" /><span>${problem.line ? `Line ${problem.line}: ` : ""}${sentence(textOf(problem))}</span></p>`)}
    ${(result.warnings ?? []).map((warning) => html`<p class="notice warning"><${Sign} tone="warning" /><span>${sentence(textOf(warning))}</span></p>`)}
    ${restart.length > 0 && html`<p class="notice warning"><${Sign} tone="warning" /><span>Needs a restart: ${restart.map(textOf).join(", ")}</span></p>`}
    ${result.valid && html`<${ShortTable} label="Changes" rows=${lines} empty="Nothing would change." columns=${[
      { label: "Change", cell: (line) => line.change },
      { label: "What", cell: (line) => line.kind },
      { label: "Name", cell: (line) => html`<code>${line.name}</code>` },
      { label: "Settings", class: "text", cell: (line) => line.fields },
    ]} />`}
    ${result.valid && html`<p class="note">${drains ? `${plural(result.streams_to_drain, "stream")} would drain, in which ${bytes(result.pending_bytes_to_drain)} wait.` : "No stream would drain."}</p>`}
  `;
}

function changesOf(kind, changes) {
  return ["added", "removed", "changed"].flatMap((change) => (changes[change] ?? []).map((one) => ({
    change,
    kind: kind.slice(0, -1),
    name: typeof one === "string" ? one : one.name,
    fields: (one.fields ?? []).join(", "),
  })));
}

/** The file with the numbers of its lines, and each problem below its line. */
function File({ text, config, problems }) {
  if (typeof text !== "string") return html`<${Settings} value=${config} />`;
  const lines = text.replace(/\n$/, "").split("\n");
  return html`<div class="source" tabindex="0" role="region" aria-label="Configuration, secrets masked">
    ${lines.map((line, at) => {
      const here = problems.filter((problem) => problem.line === at + 1);
      return html`<div key=${at} class=${`source-line ${here.length > 0 ? "bad" : ""}`} id=${`line-${at + 1}`}><span class="line-number">${at + 1}</span><code>${line || " "}</code></div>
        ${here.map((problem) => html`<div class="source-problem"><${Sign} tone="error" /><span>${sentence(textOf(problem))}</span></div>`)}`;
    })}
  </div>`;
}

/** Where each entry of a payload would go, and why. */
function Explain() {
  const [signal, setSignal] = useState("logs");
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const payload = useRef(null);
  const ask = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      setAnswer(await send("POST", address("/api/v1/explain", { signal }), payload.current.value));
    } catch (failure) {
      setAnswer(null);
      setError(failure);
      if (failure.status === 401) dispatchEvent(new Event("tokenwanted"));
    }
    setBusy(false);
  };
  return html`<${Section} title="Where would it go?" id="explain">
    <form class="explain" onSubmit=${ask}>
      <label class="field wide"><span>An OTLP request in JSON</span>
        <textarea ref=${payload} rows="8" spellcheck=${false} required placeholder=${'{"resourceLogs":[{"resource":{"attributes":[…]}, …}]}'}></textarea></label>
      <div class="explain-ask">
        <label class="field"><span>Signal</span><select value=${signal} onChange=${(event) => setSignal(event.target.value)}>
          ${["traces", "metrics", "logs"].map((name) => html`<option key=${name} value=${name} selected=${name === signal}>${name}</option>`)}
        </select></label>
        <button type="submit" class="primary" disabled=${busy}>Explain</button>
      </div>
    </form>
    <div aria-live="polite">
      ${error && html`<p class="notice error"><${Sign} tone="error" /><span>${sentence(error.message)}</span></p>`}
      ${answer && html`<${Explained} answer=${answer} />`}
    </div>
  <//>`;
}

function Explained({ answer }) {
  const entries = answer.entries ?? [answer];
  return entries.map((entry, at) => html`<div class="explained" key=${at}>
    <h3>Entry ${exact(at + 1)}</h3>
    <${Settings} value=${entry} />
  </div>`);
}

