// Settings as the API gives them, with secrets masked: names and values, one below the other.
import { html } from "./html.js";

const isTree = (value) => typeof value === "object" && value !== null;

export function Settings({ value }) {
  if (!isTree(value)) return html`<p class="empty">None.</p>`;
  return html`<div class="settings"><${Tree} value=${value} /></div>`;
}

function Tree({ value }) {
  const entries = Array.isArray(value) ? value.map((one) => ["–", one]) : Object.entries(value);
  if (entries.length === 0) return html`<span class="none">${Array.isArray(value) ? "[]" : "{}"}</span>`;
  return html`<ul>${entries.map(([name, one], at) => html`<li key=${at}>
    <span class="setting">${name}</span>
    ${isTree(one) ? html`<${Tree} value=${one} />` : html`<code>${one === null ? "–" : String(one)}</code>`}
  </li>`)}</ul>`;
}
