// The configuration in use, what a changed file would do, what was loaded before, and where a payload would go.
import { html } from "../lib/html.js";
import { useLive } from "../lib/live.js";
import { Facts, Missing, Moment, PageHead, Section, ShortTable, Sign, State, Trouble, sentence } from "../lib/parts.js";
import { Source } from "../lib/source.js";
import { Candidate, DryRun } from "./dry_run.js";
import { Explain } from "./explain.js";

export function Configuration() {
  const { data, error } = useLive("/api/v1/config");
  if (!data) return html`<${PageHead} title="Configuration" /><${Missing} error=${error} what="the configuration" />`;
  const refused = data.last_error;
  return html`
    <${PageHead} title="Configuration" state=${html`<${State} name=${refused ? "failed" : "loaded"}>${refused ? "last reload failed" : "loaded"}<//>`} />
    <${Trouble} error=${error} />
    ${refused && html`<${Refused} refused=${refused} version=${data.version} file=${data.source} />`}
    <${DryRun} file=${data.source} />
    <${Candidate} file=${data.source} inUse=${data.text} />
    <${Section} title="In use" id="in-use">
      <${Facts} facts=${[
        ["Source", html`<code>${data.source}</code>`],
        ["Version", html`<code>${data.version}</code>`],
        ["Loaded", html`<${Moment} at=${data.loaded_at} />`],
      ]} />
      <p class="note">Line by line as in the file. Comments are not shown, and what may be a secret is replaced.</p>
      <${Source} label="Configuration in use, without comments, secrets replaced" file=${data.source} text=${data.text} problems=${data.problems} />
    <//>
    <${Section} title="Reloads" id="reloads">
      <${ShortTable} label="Reloads" rows=${data.reloads} empty="None since the start." columns=${[
        { label: "When", cell: (reload) => html`<${Moment} at=${reload.at} as="clock" />` },
        { label: "Outcome", cell: (reload) => html`<${State} name=${reload.outcome} />` },
        { label: "By", class: "text", cell: (reload) => reload.by },
        { label: "Version", cell: (reload) => html`<code>${reload.version ?? "–"}</code>` },
        { label: "Why it failed", class: "text", cell: (reload) => sentence(reload.error) },
      ]} />
    <//>
    <${Explain} />
  `;
}

/** The file that could not be used, with what is wrong at its lines. */
function Refused({ refused, version, file }) {
  return html`<${Section} title="Not in use" id="refused">
    <p class="notice error"><${Sign} tone="error" /><span>The reload of <${Moment} at=${refused.at} as="clock" /> failed, so that version ${version} stays in use${refused.text ? "." : html`: ${sentence(refused.error)}`}</span></p>
    ${refused.text && html`<${Source} label="Configuration that was refused, secrets replaced" file=${file} text=${refused.text} problems=${refused.problems} />`}
  <//>`;
}
