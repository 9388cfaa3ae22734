// A configuration line by line, with what is wrong below the line where it stands.
import { html } from "./html.js";
import { Sign, sentence } from "./parts.js";

/** A problem with what to write instead. */
export const Problem = ({ problem }) => html`<span>${sentence(problem.message)}${problem.help && html`: ${sentence(problem.help)}`}</span>`;

export function Source({ label, text, problems }) {
  const lines = text.replace(/\n$/, "").split("\n");
  const below = (number) => problems.filter((problem) => problem.line === number);
  const elsewhere = problems.filter((problem) => !(problem.line >= 1 && problem.line <= lines.length));
  return html`
    ${elsewhere.map((problem, at) => html`<p key=${at} class=${`notice ${problem.severity}`}><${Sign} tone=${problem.severity} /><${Problem} problem=${problem} /></p>`)}
    <div class="source" tabindex="0" role="region" aria-label=${label}>
      ${lines.map((line, at) => {
        const here = below(at + 1);
        return html`<div key=${at} class=${`source-line ${here[0]?.severity ?? ""}`}><span class="line-number">${at + 1}</span><code>${line || " "}</code></div>
          ${here.map((problem) => html`<div class=${`source-problem ${problem.severity}`}><${Sign} tone=${problem.severity} /><${Problem} problem=${problem} /></div>`)}`;
      })}
    </div>`;
}
