// What a reload would do, and the reload.
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { Section, ShortTable, Sign, State, sentence } from "../lib/parts.js";
import { ActionButton } from "../lib/dialog.js";
import { Problem, Source } from "../lib/source.js";
import { bytes, plural } from "../lib/format.js";

export function DryRun() {
  const [plan, setPlan] = useState(null);
  const [error, setError] = useState(null);
  const reload = {
    title: "Read the configuration again?",
    text: "The file is put to use if it has no problem; else what is in use stays.",
    confirm: "Reload",
    needs: "It needs the write token (`admin.write_token`), where the configuration has one.",
    run: async () => {
      const { version } = await send("POST", "/api/v1/reload");
      setPlan(null);
      return `Version ${version} is in use.`;
    },
  };
  const dryRun = async () => {
    setError(null);
    try {
      setPlan(await send("POST", "/api/v1/reload?dry_run=true"));
    } catch (failure) {
      // That the file can't be used is a result as well.
      if (failure.status === 422) setPlan(failure.body);
      else setError(failure);
      if (failure.status === 401) dispatchEvent(new Event("tokenwanted"));
    }
  };
  return html`<${Section} title="The file on disk" id="dry-run"
    actions=${html`<button type="button" onClick=${dryRun}>Dry run</button><${ActionButton} label="Reload" action=${reload} />`}>
    <div aria-live="polite">
      ${error && html`<p class="notice error"><${Sign} tone="error" /><span>${sentence(error.message)}</span></p>`}
      ${plan === null ? html`<p class="note">A dry run says what a reload would do, and changes nothing.</p>` : plan.valid ? html`<${Plan} plan=${plan} />` : html`<${Unusable} plan=${plan} />`}
    </div>
  <//>`;
}

function Unusable({ plan }) {
  return html`
    <p><${State} name="error">It can't be used<//>${plan.text ? "" : html`: ${sentence(plan.error)}`}</p>
    ${plan.text && html`<${Source} label="The file on disk, secrets replaced" text=${plan.text} problems=${plan.problems} />`}
  `;
}

function Plan({ plan }) {
  const changes = ["receivers", "routes", "exporters"].flatMap((section) => changesOf(section, plan[section]));
  const settings = plan.settings.map((difference) => ({ change: "changed", what: "setting", name: difference.field, differences: [difference] }));
  const { streams_to_drain: streams, pending_bytes_to_drain: pending } = plan;
  return html`
    <p><${State} name="ok">It can be used<//></p>
    ${plan.needs_restart.map((why) => html`<p class="notice warning"><${Sign} tone="warning" /><span>Only after a restart: ${sentence(why)}</span></p>`)}
    ${plan.warnings.map((problem) => html`<p class="notice warning"><${Sign} tone="warning" /><${Problem} problem=${problem} /></p>`)}
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
