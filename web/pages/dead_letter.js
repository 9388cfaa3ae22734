// Inside one dead letter.
import { html, useEffect, useState } from "../lib/html.js";
import { get, send } from "../lib/api.js";
import { exporterAddress, letterAddress, navigate, tenantAddress } from "../lib/router.js";
import { Facts, Figure, Missing, Moment, PageHead, Section, Sign, Snippet, sentence } from "../lib/parts.js";
import { ActionButton } from "../lib/dialog.js";
import { outcome } from "./dead_letter_outcome.js";

export function DeadLetterPage({ name }) {
  const [letter, setLetter] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    const read = () => get(`/api/v1${letterAddress(name)}`).then(setLetter, (failure) => {
      setError(failure);
      if (failure.status === 401) dispatchEvent(new Event("tokenwanted"));
    });
    read();
    addEventListener("tokenchange", read);
    return () => removeEventListener("tokenchange", read);
  }, [name]);
  const head = (actions) => html`<${PageHead} title="Dead letter" trail=${["/dead-letters", "Dead letters"]}>${actions}<//>`;
  if (!letter) return html`${head()}<${Missing} error=${error} what="the dead letter" />`;
  const offending = new Set(letter.offending ?? []);
  return html`
    ${head(html`<${Actions} file=${name} />`)}
    <p class="notice error"><${Sign} tone="error" /><span>${sentence(letter.reason ?? letter.problem)}</span></p>
    <${Section} title="What is known of it" id="note"><${Facts} facts=${[
      ["Time", html`<${Moment} at=${letter.time} as="clock" />`],
      ["Exporter", letter.exporter ? html`<a href=${exporterAddress(letter.exporter)}>${letter.exporter}</a>` : null],
      letter.origin && ["Came by", `${letter.origin.receiver}${letter.origin.peer ? `, from ${letter.origin.peer}` : ""}`],
      ["Tenant", letter.tenant && html`<a href=${tenantAddress(letter.tenant)}>${letter.tenant}</a>`],
      ["Key", letter.key && html`<code>${letter.key}</code>`],
      ["Signal", letter.signal],
      ["Records", html`<${Figure} value=${letter.record_count} as="exact" />`],
      ["Size", html`<${Figure} value=${letter.bytes} as="bytes" />`],
      ["File", html`<code>${name}</code>`],
    ]} /><//>
    ${letter.records && html`<${Section} title="Inside" id="inside">
      ${letter.faults.map((fault) => html`<p class="notice error"><${Sign} tone="error" /><span><code>${fault.path}</code> ${sentence(fault.reason)}</span></p>`)}
      ${letter.truncated && html`<p class="note">Only the beginning is shown.</p>`}
      ${letter.records.map((entry, index) => html`<${Entry} key=${index} index=${index} entry=${entry} marked=${offending.has(index)} />`)}
    <//>`}
  `;
}

function Entry({ index, entry, marked }) {
  const text = JSON.stringify(entry, null, 2);
  return html`<details class=${`entry ${marked ? "marked" : ""}`} open=${marked || index < 3}>
    <summary>${marked && html`<${Sign} tone="error" />`}Entry ${index + 1}${marked ? ": refused" : ""}</summary>
    <${Snippet} text=${text} />
  </details>`;
}

function Actions({ file }) {
  // A letter that is left stays on its page.
  const [isLeft, setIsLeft] = useState(true);
  const act = (verb, title, text, confirm) => ({
    title,
    text,
    confirm,
    run: async () => {
      const answer = await send("POST", `/api/v1/dead-letters/${verb}`, { files: [file] });
      const said = outcome(verb, answer);
      setIsLeft(answer.left > 0);
      if (typeof said === "string") navigate("/dead-letters");
      return said;
    },
    closed: () => isLeft || navigate("/dead-letters"),
  });
  return html`
    <${ActionButton} label="Replay" action=${act("replay", "Send this dead letter again?", "It goes to the exporter that it was recorded for, and is removed once all of its records have ended there.", "Replay")} />
    <${ActionButton} label="Delete" danger action=${act("delete", "Delete this dead letter?", "Its records are lost for good.", "Delete")} />
  `;
}
