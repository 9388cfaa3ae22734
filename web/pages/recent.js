// The newest logs that Sluice keeps, searched backwards.
import { html, useEffect, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { address } from "../lib/router.js";
import { PageHead, Sign, sentence } from "../lib/parts.js";
import { Logs } from "./logs.js";
import { QueryForm, TapChoice } from "./tap_query.js";

export function Recent({ query }) {
  const asked = query.get("query") ?? "";
  const [pages, setPages] = useState({ records: [], next: null, read: false });
  const [error, setError] = useState(null);
  const read = async (before) => {
    try {
      const { data, next } = await get(address("/api/v1/logs", { query: asked, after: before.next }));
      const records = data.map(({ dt, message, ...rest }, at) => ({ time: dt, body: message, ...rest, number: before.records.length + at }));
      setPages({ records: [...before.records, ...records], next, read: true });
      setError(null);
    } catch (failure) {
      setError(failure);
      if (failure.status === 401) dispatchEvent(new Event("tokenwanted"));
    }
  };
  useEffect(() => {
    const begin = () => read({ records: [], next: null });
    begin();
    addEventListener("tokenchange", begin);
    return () => removeEventListener("tokenchange", begin);
  }, [asked]);
  // That none are kept is no fault of the query.
  const isOff = error?.status === 404;
  return html`
    <${PageHead} title="Tap"><${TapChoice} value="recent" /><//>
    <${QueryForm} key=${asked} asked=${asked} error=${isOff ? null : error} action="Search" />
    ${isOff && html`<p class="notice info"><${Sign} tone="info" /><span>${sentence(error.message)}</span></p>`}
    ${pages.records.length > 0 && html`<${Logs} records=${pages.records} />`}
    ${pages.read && pages.records.length === 0 && html`<p class="empty">No log that is kept fits.</p>`}
    ${pages.next && html`<p><button type="button" onClick=${() => read(pages)}>Older</button></p>`}
  `;
}
