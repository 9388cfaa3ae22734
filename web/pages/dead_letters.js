// Dead letters: what could not be delivered, kept in files.
import { html, useState } from "../lib/html.js";
import { send } from "../lib/api.js";
import { letterAddress, setQuery } from "../lib/router.js";
import { Field, Figure, Moment, NotConfigured, PageHead, Sign } from "../lib/parts.js";
import { DEAD_LETTERS } from "../lib/examples.js";
import { ActionButton } from "../lib/dialog.js";
import { ClearFilters, ServerTable } from "../lib/table.js";
import { exact, isMoment, plural } from "../lib/format.js";
import { outcome } from "./dead_letter_outcome.js";

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
  const [{ answer, found }, setAnswer] = useState({ answer: null, found: null });
  // What was typed for a moment and is none, by its field.
  const [unusable, setUnusable] = useState({});
  // Another list is read once something was done with this one.
  const [round, setRound] = useState(0);
  const value = (name) => query.get(name);
  const filter = Object.fromEntries(FILTERS.map((name) => [name, value(name)]).filter(([, text]) => text));
  const field = (name, label, options) => html`<${Field} label=${label} name=${name} value=${value(name)} options=${options} onChange=${(text) => setQuery({ [name]: text })} />`;
  const momentField = (name, label) => html`<${Field} label=${label} name=${name} value=${value(name)} placeholder="2026-03-27T00:00:00Z" size="moment"
    usable=${(text) => text.trim() === "" || isMoment(text)} invalid=${Boolean(unusable[name])} saidBy="moments-said"
    onUnusable=${(text) => setUnusable((before) => ({ ...before, [name]: text }))} onChange=${(text) => setQuery({ [name]: text.trim() })} />`;
  const noMoments = Object.values(unusable).filter(Boolean);
  // A row that is as it was may still have the function of an earlier time: what is chosen now is not known to that.
  const choose = (file) => setChosen((before) => {
    const next = new Set(before);
    if (!next.delete(file)) next.add(file);
    return next;
  });
  const done = () => {
    setChosen(new Set());
    setRound((before) => before + 1);
  };
  return html`
    <${PageHead} title="Dead letters"><${Actions} chosen=${chosen} filter=${filter} found=${found} done=${done} /><//>
    ${answer?.full && html`<p class="notice error"><${Sign} tone="error" /><span>The directory is full: what comes next is dropped. Delete or replay some, or raise <code>dead_letter.max_size</code>.</span></p>`}
    <form class="filters" role="search" aria-label="Filter dead letters" onSubmit=${(event) => event.preventDefault()}>
      ${field("exporter", "Exporter")}
      ${field("tenant", "Tenant")}
      ${field("key", "Key")}
      ${field("reason", "Reason")}
      ${field("signal", "Signal", [["", "all"], ["traces", "traces"], ["metrics", "metrics"], ["logs", "logs"]])}
      ${momentField("from", "From")}
      ${momentField("to", "To")}
      <${ClearFilters} names=${FILTERS} query=${query} />
    </form>
    <div id="moments-said" role="status">${noMoments.length > 0 && html`<p class="notice warning"><${Sign} tone="warning" /><span>
      A moment is written as <code>2026-03-27T00:00:00Z</code>. Not looked for: ${noMoments.map((text, at) => html`${at > 0 ? ", " : ""}<code>${text}</code>`)}.</span></p>`}</div>
    <${ServerTable} key=${round} path="/api/v1/dead-letters" query=${filter} noun="dead letter" columns=${COLUMNS}
      pick=${(answer) => answer.letters} rowKey=${(letter) => letter.file} rowHref=${(letter) => letterAddress(letter.file)}
      select=${{ chosen, choose }} onAnswer=${(answer, found) => setAnswer({ answer, found })} empty=${emptyText(answer, filter)} />
    ${answer?.directory && html`<p class="note">In <code>${answer.directory}</code>: <${Figure} value=${answer.bytes} as="bytes" /> of <${Figure} value=${answer.max_size} as="bytes" />.</p>`}
  `;
}

function emptyText(answer, filter) {
  if (answer?.directory === null) return html`<${NotConfigured} text="No directory is configured for what can't be delivered, so that it is dropped." lines=${DEAD_LETTERS} />`;
  return Object.keys(filter).length > 0 ? "No dead letter fits these filters." : "There is none. What could not be delivered would be here.";
}

function Actions({ chosen, filter, found, done }) {
  const isFiltered = Object.keys(filter).length > 0;
  const isChosen = chosen.size > 0;
  const which = isChosen ? { files: [...chosen] } : isFiltered ? { filter } : { all: true };
  const { count, exact: isExact } = isChosen ? { count: chosen.size, exact: true } : (found ?? { count: 0, exact: true });
  const isNone = count === 0 && isExact;
  const labelOf = (verb) => {
    if (isNone) return verb;
    if (isChosen) return `${verb} ${exact(count)} chosen`;
    if (!isExact) return `${verb} all found`;
    return isFiltered ? `${verb} ${exact(count)} found` : `${verb} all ${exact(count)}`;
  };
  const act = (verb, title, text, confirm) => ({
    title,
    text: isExact ? text : `${text} All that these filters find are meant, of which not all have been counted.`,
    confirm,
    run: async () => {
      const said = outcome(verb, await send("POST", `/api/v1/dead-letters/${verb}`, which));
      if (typeof said === "string") done();
      return said;
    },
    closed: done,
  });
  const letters = isExact ? plural(count, "dead letter") : `at least ${plural(count, "dead letter")}`;
  return html`
    <${ActionButton} label=${labelOf("Replay")} disabled=${isNone} action=${act("replay", `Send ${letters} again?`, "Each goes only to the exporter that it was recorded for, and is removed once all of its records have ended there.", "Replay")} />
    <${ActionButton} label=${labelOf("Delete")} disabled=${isNone} danger action=${act("delete", `Delete ${letters}?`, "Their records are lost for good.", "Delete")} />
  `;
}
