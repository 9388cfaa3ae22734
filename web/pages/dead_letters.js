// Dead letters: what could not be delivered, kept in files.
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { letterAddress, setQuery } from "../lib/router.js";
import { Field, Figure, Moment, NotConfigured, PageHead, Sign } from "../lib/parts.js";
import { DEAD_LETTERS } from "../lib/examples.js";
import { ActionButton } from "../lib/dialog.js";
import { ClearFilters, ServerTable } from "../lib/table.js";
import { exact, plural } from "../lib/format.js";

const FILTERS = ["exporter", "tenant", "key", "reason", "signal", "from", "to"];

const COLUMNS = [
  { label: "Time", width: "11rem", cell: (letter) => (letter.time ? html`<${Moment} at=${letter.time} as="clock" />` : letter.file) },
  { label: "Exporter", rank: 2, width: "14%", cell: (letter) => letter.exporter ?? (letter.origin && html`<span class="none">none, came by ${letter.origin.receiver}</span>`) ?? html`<span class="none">–</span>` },
  { label: "Tenant", rank: 3, width: "9%", cell: (letter) => letter.tenant ?? html`<span class="none">–</span>` },
  { label: "Key", rank: 2, width: "11%", cell: (letter) => letter.key ?? html`<span class="none">–</span>` },
  { label: "Signal", rank: 3, width: "5.5rem", cell: (letter) => letter.signal },
  { label: "Records", number: true, rank: 2, width: "5.5rem", cell: (letter) => html`<${Figure} value=${letter.records} as="exact" />` },
  { label: "Bytes", number: true, rank: 3, width: "5.5rem", cell: (letter) => html`<${Figure} value=${letter.bytes} as="bytes" />` },
  { label: "Reason", cell: (letter) => html`<span title=${letter.reason ?? letter.problem}>${letter.reason ?? letter.problem}</span>` },
];

export function DeadLetters({ query }) {
  const [chosen, setChosen] = useState(() => new Set());
  const [answer, setAnswer] = useState(null);
  // Another list is read once something was done with this one.
  const [round, setRound] = useState(0);
  const value = (name) => query.get(name);
  const filter = Object.fromEntries(FILTERS.map((name) => [name, value(name)]).filter(([, text]) => text));
  const field = (name, label, options) => html`<${Field} label=${label} name=${name} value=${value(name)} options=${options}
    ...${name === "from" || name === "to" ? { placeholder: "2026-03-27T00:00:00Z", size: "moment" } : {}} onChange=${(text) => setQuery({ [name]: text })} />`;
  const choose = (file) => {
    const next = new Set(chosen);
    if (!next.delete(file)) next.add(file);
    setChosen(next);
  };
  const done = () => {
    setChosen(new Set());
    setRound(round + 1);
  };
  return html`
    <${PageHead} title="Dead letters"><${Actions} chosen=${chosen} filter=${filter} total=${answer?.total ?? 0} done=${done} /><//>
    ${answer?.full && html`<p class="notice error"><${Sign} tone="error" /><span>The directory is full: what comes next is dropped. Delete or replay some, or raise <code>dead_letter.max_size</code>.</span></p>`}
    <form class="filters" role="search" aria-label="Filter dead letters" onSubmit=${(event) => event.preventDefault()}>
      ${field("exporter", "Exporter")}
      ${field("tenant", "Tenant")}
      ${field("key", "Key")}
      ${field("reason", "Reason")}
      ${field("signal", "Signal", [["", "all"], ["traces", "traces"], ["metrics", "metrics"], ["logs", "logs"]])}
      ${field("from", "From")}
      ${field("to", "To")}
      <${ClearFilters} names=${FILTERS} query=${query} />
    </form>
    <${ServerTable} key=${round} path="/api/v1/dead-letters" query=${filter} noun="dead letter" columns=${COLUMNS}
      pick=${(answer) => answer.letters} rowKey=${(letter) => letter.file} rowHref=${(letter) => letterAddress(letter.file)}
      select=${{ chosen, choose }} onAnswer=${setAnswer} empty=${emptyText(answer, filter)} />
    ${answer?.directory && html`<p class="note">In <code>${answer.directory}</code>: <${Figure} value=${answer.bytes} as="bytes" /> of <${Figure} value=${answer.max_size} as="bytes" />.</p>`}
  `;
}

function emptyText(answer, filter) {
  if (answer?.directory === null) return html`<${NotConfigured} text="No directory is configured for what can't be delivered, so that it is dropped." lines=${DEAD_LETTERS} />`;
  return Object.keys(filter).length > 0 ? "No dead letter fits these filters." : "There is none. What could not be delivered would be here.";
}

/** What `replay` and `delete` answer, as a sentence. */
export function outcome(verb, answer) {
  const parts = [`${exact(answer.replayed ?? answer.deleted ?? 0)} ${verb === "replay" ? "replayed" : "deleted"}`];
  if (answer.records > 0) parts.push(plural(answer.records, "record"));
  if (answer.left > 0) parts.push(`${exact(answer.left)} left`);
  for (const { file, error } of answer.problems) parts.push(`${file}: ${error}`);
  return `${parts.join("; ")}.`;
}

function Actions({ chosen, filter, total, done }) {
  const filtered = Object.keys(filter).length > 0;
  const [which, count] = chosen.size > 0 ? [{ files: [...chosen] }, chosen.size] : [filtered ? { filter } : { all: true }, total];
  if (count === 0) return null;
  const label = (verb) => (chosen.size > 0 ? `${verb} ${exact(count)} chosen` : filtered ? `${verb} ${exact(count)} found` : `${verb} all ${exact(count)}`);
  const act = (verb, title, text, confirm) => ({
    title,
    text,
    confirm,
    run: async () => {
      const answer = await send("POST", `/api/v1/dead-letters/${verb}`, which);
      done();
      return outcome(verb, answer);
    },
  });
  const letters = plural(count, "dead letter");
  return html`
    <${ActionButton} label=${label("Replay")} action=${act("replay", `Send ${letters} again?`, "Each goes only to the exporter that it was recorded for, and is removed once all of its records have ended there.", "Replay")} />
    <${ActionButton} label=${label("Delete")} danger action=${act("delete", `Delete ${letters}?`, "Their records are lost for good.", "Delete")} />
  `;
}
