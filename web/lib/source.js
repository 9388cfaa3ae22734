// A configuration line by line, with what is wrong below the line where it stands.
import { html } from "./html.js";
import { Sign, sentence } from "./parts.js";

/** A problem with what to write instead, and its place if it is in another file than this. */
export const Problem = ({ problem, file }) => html`<span>${file !== undefined && problem.file !== file && html`<code>${[problem.file, problem.line, problem.column].filter((part) => part !== null).join(":")}</code>: `}${sentence(problem.message)}${problem.help && html`: ${sentence(problem.help)}`}</span>`;

/** The text of this `file`. Problems of others, such as of one with rows of tenants, stand before it, with their places. */
export function Source({ label, file, text, problems }) {
  const lines = text.replace(/\n$/, "").split("\n");
  const stands = (problem) => problem.file === file && problem.line >= 1 && problem.line <= lines.length;
  const below = (number) => problems.filter((problem) => stands(problem) && problem.line === number);
  const elsewhere = problems.filter((problem) => !stands(problem));
  return html`
    ${elsewhere.map((problem, at) => html`<p key=${at} class=${`notice ${problem.severity}`}><${Sign} tone=${problem.severity} /><${Problem} problem=${problem} file=${file} /></p>`)}
    <div class="source" tabindex="0" role="region" aria-label=${label}>
      ${lines.map((line, at) => {
        const here = below(at + 1);
        return html`<div key=${at} class=${`source-line ${here[0]?.severity ?? ""}`}><span class="line-number">${at + 1}</span><code>${line || " "}</code></div>
          ${here.map((problem) => html`<div class=${`source-problem ${problem.severity}`}><${Sign} tone=${problem.severity} /><${Problem} problem=${problem} /></div>`)}`;
      })}
    </div>`;
}
