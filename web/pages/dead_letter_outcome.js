// What came of a replay or a deletion of dead letters.
import { html } from "../lib/html.js";
import { Counted, Facts, Sign, sentence } from "../lib/parts.js";
import { exact, plural } from "../lib/format.js";

/** What `replay` and `delete` answer: a sentence if all was done that was asked for, else what became of each part. */
export function outcome(verb, answer) {
  const { records, dead_lettered: again = 0, rejected = 0, dropped = 0, left } = answer;
  const isReplay = verb === "replay";
  const letters = answer.replayed ?? answer.deleted;
  if (again + rejected + dropped + left === 0) {
    return `${plural(letters, "dead letter")} ${isReplay ? "replayed" : "deleted"}: ${plural(records, "record")} ${isReplay ? "delivered" : "lost for good"}.`;
  }
  const tone = letters === 0 || (isReplay && records === 0) ? "error" : "warning";
  const counted = (count, noun, note) => html`<${Counted} value=${count} noun=${noun} />${note && html` <span class="note">(${note})</span>`}`;
  return html`
    <p class="notice ${tone}"><${Sign} tone=${tone} /><span>${saidOf(isReplay, letters, records)}</span></p>
    <${Facts} facts=${[
      [isReplay ? "Replayed" : "Deleted", counted(letters, "dead letter")],
      [isReplay ? "Delivered" : "Lost for good", counted(records, "record")],
      isReplay && ["Refused again", counted(again, "record", again > 0 && "now in new dead letters")],
      isReplay && ["Rejected", counted(rejected, "record", rejected > 0 && "the upstream took the rest of their batch, and they are kept nowhere")],
      isReplay && ["Dropped", counted(dropped, "record", dropped > 0 && "refused again without room for new dead letters, so that their letters are left")],
      ["Left", counted(left, "dead letter")],
    ]} />
    <${Problems} problems=${answer.problems} left=${left} />
  `;
}

function saidOf(isReplay, letters, records) {
  if (!isReplay) return letters === 0 ? "None was deleted." : "Not all were deleted.";
  return records === 0 ? "Nothing was delivered." : "Not all was delivered.";
}

/** Why letters are left, as far as that is said of each. */
function Problems({ problems, left }) {
  if (problems.length === 0) return null;
  const more = left - problems.length;
  return html`<ul class="problems">${problems.map(({ file, error }) => html`<li key=${file}><code>${file}</code>: ${sentence(error)}</li>`)}</ul>
    ${more > 0 && html`<p class="note">and ${exact(more)} more</p>`}`;
}
