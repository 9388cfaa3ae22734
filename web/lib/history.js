// What an exporter, a stream or a tenant has done, step by step, as charts.
import { html } from "./html.js";
import { useRead } from "./live.js";
import { address } from "./router.js";
import { Missing, Moment, Section, Trouble, sentence } from "./parts.js";
import { Chart, timesOf } from "./chart.js";
import { asSentence } from "./format.js";

/** The last 15 minutes of what `of` names: `{ exporter }`, `{ tenant }`, or a stream by `{ exporter, signal, tenant, key }`. */
export function History({ of }) {
  const path = address("/api/v1/history", { range: "15m", ...of });
  // Another's charts begin anew: until they are there nobody may take the former for them.
  return html`<${HistoryAt} key=${path} path=${path} />`;
}

function HistoryAt({ path }) {
  const [history, error] = useRead(5, path);
  // It has none yet, or is none of those that have one.
  if (!history && error?.status === 404) return html`<${Section} title="Last 15 minutes" id="history"><p class="empty">${sentence(asSentence(error.message))}</p><//>`;
  return html`<${Section} title="Last 15 minutes" id="history">
    ${history ? html`<${Trouble} error=${error} /><${Beginning} history=${history} /><${Charts} history=${history} />` : html`<${Missing} error=${error} what="the history" />`}
  <//>`;
}

/** Says since when there is a history, if that is not as long as the charts are. */
function Beginning({ history: { began, from } }) {
  if (!began || Date.parse(began) <= Date.parse(from)) return null;
  return html`<p class="note">The history begins at <${Moment} at=${began} as="clock" />: nothing is known of what was before.</p>`;
}

function Charts({ history }) {
  const { series } = history;
  const times = timesOf(history, series.exported_records.length);
  return html`<div class="charts">
    <${Chart} title="Records" times=${times} as="perSecond" series=${[
      { label: "delivered", values: series.exported_records, colour: "ok" },
      { label: "not delivered", values: series.not_delivered_records, colour: "error" },
    ]} />
    <${Chart} title="Waiting" times=${times} as="bytes" series=${[{ label: "pending", values: series.pending_bytes, colour: "warning" }]} />
    <${Chart} title="Failed attempts" times=${times} as="perSecond" series=${[{ label: "attempts", values: series.failed_attempts, colour: "error" }]} />
  </div>`;
}
