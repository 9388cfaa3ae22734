// What a reload would do, of the file on disk or of a candidate for it, and the reload.
import { html, useRef, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { Section, ShortTable, Sign, State, sentence } from "../lib/parts.js";
import { ActionButton } from "../lib/dialog.js";
import { Problem, Source } from "../lib/source.js";
import { bytes, plural } from "../lib/format.js";

export function DryRun({ file }) {
  const { dryRun, forget, outcome } = useDryRun("The file on disk, secrets replaced", file);
  const reload = {
    title: "Read the configuration again?",
    text: "The file is put to use if it has no problem; else what is in use stays.",
    confirm: "Reload",
    needs: "It needs the write token (`admin.write_token`), where the configuration has one.",
    run: async () => {
      const { version } = await send("POST", "/api/v1/reload");
      forget();
      return `Version ${version} is in use.`;
    },
  };
  return html`<${Section} title="The file on disk" id="dry-run"
    actions=${html`<button type="button" onClick=${() => dryRun()}>Dry run</button><${ActionButton} label="Reload" action=${reload} />`}>
    <div aria-live="polite">
      ${outcome ?? html`<p class="note">A dry run says what a reload would do, and changes nothing. A changed file is put to use by itself: to know before, try the change below.</p>`}
    </div>
  <//>`;
}

/** A change, tried before it is written to the `file`; `inUse` is the text of the configuration in use, secrets replaced. */
export function Candidate({ file, inUse }) {
  const { dryRun, forget, outcome } = useDryRun("The candidate, secrets replaced", file);
  const text = useRef(null);
  const ask = (event) => {
    event.preventDefault();
    dryRun(text.current.value);
  };
  const begin = () => {
    text.current.value = inUse;
    forget();
  };
  return html`<${Section} title="Try a change" id="candidate" actions=${html`<button type="button" onClick=${begin}>Start from what is in use</button>`}>
    <form class="explain" onSubmit=${ask}>
      <label class="field wide"><span>A candidate for the configuration</span>
        <textarea ref=${text} rows="12" spellcheck=${false} required onInput=${forget} aria-describedby="candidate-note"></textarea></label>
      <p class="note" id="candidate-note">It is read as the file would be, and neither kept nor put to use. What is in use comes without its secrets: instead of <code>[redacted]</code>, write them, or <code>${"${env:NAME}"}</code>. It needs the write token (<code>admin.write_token</code>).</p>
      <div class="explain-ask"><button type="submit" class="primary">Show what it would do</button></div>
    </form>
    <div aria-live="polite">${outcome}</div>
  <//>`;
}

/** A dry run of the file, or of a text in its place; its `outcome` is `null` before there is one. `label` names the text in which problems are shown. */
function useDryRun(label, file) {
  const [plan, setPlan] = useState(null);
  const [error, setError] = useState(null);
  const newest = useRef(0);
  const show = (number, plan, error) => {
    // An older answer may come later than a newer one, or than the text was changed.
    if (number !== newest.current) return;
    setPlan(plan);
    setError(error);
  };
  const forget = () => show(++newest.current, null, null);
  const dryRun = async (text) => {
    const number = ++newest.current;
    try {
      show(number, await send("POST", "/api/v1/reload?dry_run=true", text, "application/yaml"), null);
    } catch (failure) {
      // That it can't be used is a result as well.
      if (failure.status === 422) show(number, failure.body, null);
      else show(number, null, failure);
      if (failure.status === 401) dispatchEvent(new Event("tokenwanted"));
    }
  };
  const outcome = error
    ? html`<p class="notice error"><${Sign} tone="error" /><span>${sentence(error.message)}</span></p>`
    : plan && (plan.valid ? html`<${Plan} plan=${plan} file=${file} />` : html`<${Unusable} plan=${plan} label=${label} file=${file} />`);
  return { dryRun, forget, outcome };
}

function Unusable({ plan, label, file }) {
  return html`
    <p><${State} name="error">It can't be used<//>${plan.text ? "" : html`: ${sentence(plan.error)}`}</p>
    ${plan.text && html`<${Source} label=${label} file=${file} text=${plan.text} problems=${plan.problems} />`}
  `;
}

function Plan({ plan, file }) {
  const changes = ["receivers", "routes", "exporters"].flatMap((section) => changesOf(section, plan[section]));
  const settings = plan.settings.map((difference) => ({ change: "changed", what: "setting", name: difference.field, differences: [difference] }));
  const { streams_to_drain: streams, pending_bytes_to_drain: pending } = plan;
  return html`
    <p><${State} name="ok">It can be used<//></p>
    ${plan.needs_restart.map((why) => html`<p class="notice warning"><${Sign} tone="warning" /><span>Only after a restart: ${sentence(why)}</span></p>`)}
    ${plan.warnings.map((problem) => html`<p class="notice warning"><${Sign} tone="warning" /><${Problem} problem=${problem} file=${file} /></p>`)}
    <${ShortTable} label="Changes" rows=${[...changes, ...settings]} empty="Nothing would change." columns=${[
      { label: "Change", cell: (one) => one.change },
      { label: "What", cell: (one) => one.what },
      { label: "Name", cell: (one) => html`<code>${one.name}</code>` },
      { label: "Settings", class: "text", cell: (one) => one.differences.map((difference) => html`<div key=${difference.field}><${Difference} difference=${difference} /></div>`) },
    ]} />
    <p class="note">${streams > 0 ? `${plural(streams, "stream")} would drain, in which ${bytes(pending)} wait.` : "No stream would drain."}</p>
  `;
}

/** The changes of a section, one for each of its parts. */
function changesOf(section, { added, removed, changed, reordered }) {
  const what = section.slice(0, -1);
  const lines = [
    ...added.map((name) => ({ change: "added", what, name, differences: [] })),
    ...removed.map((name) => ({ change: "removed", what, name, differences: [] })),
    ...changed.map(({ name, fields }) => ({ change: "changed", what, name, differences: fields })),
  ];
  return reordered ? [...lines, { change: "reordered", what: section, name: "", differences: [] }] : lines;
}

const written = (value) => (value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));

function Difference({ difference: { field, from, to } }) {
  return html`${field}: <code>${written(from)}</code> → <code>${written(to)}</code>`;
}
