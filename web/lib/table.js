// A table of any length: the server sorts and pages, and only the rows that are seen are in the document.
import { Component, html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./html.js";
import { navigate, setQuery } from "./router.js";
import { Missing, Trouble } from "./parts.js";
import { exact, plural } from "./format.js";
import { Rows } from "./rows.js";
import { Scroll } from "./scroll.js";

/** Rows beyond the edges, so that scrolling finds them there. */
const BEYOND = 8;

/** How much room a window has, with the height of a row: columns of a higher rank are left out. */
const ROOMS = [
  { rank: 1, media: "(max-width: 760px)", height: 80 },
  { rank: 2, media: "(max-width: 1100px)", height: 64 },
  { rank: 3, media: "(pointer: coarse)", height: 46 },
  { rank: 3, media: "all", height: 34 },
];

/** The rank of windows that have room for all columns, each with one line. */
const WIDE = 3;

const roomNow = () => ROOMS.findIndex((room) => matchMedia(room.media).matches);

function useRoom() {
  const [room, setRoom] = useState(roomNow);
  useEffect(() => {
    const update = () => setRoom(roomNow());
    addEventListener("resize", update);
    return () => removeEventListener("resize", update);
  }, []);
  return ROOMS[room];
}

/** Both orders by one name, the larger first. */
export const bothOrders = (name, first = "descending") => {
  const orders = [{ value: `-${name}`, direction: "descending" }, { value: name, direction: "ascending" }];
  return first === "descending" ? orders : orders.reverse();
};

/**
 * `path` and `query` say what is listed; `pick` takes the rows out of an answer; `noun` is what a row is. A column has `label`,
 * `cell(row)`, and if it can be sorted by, `orders`: the values of the `sort` parameter with their directions. Columns with
 * `rank` 2 and 3 are left out where there is little room. What they say then stands below the first cell, unless it is a `number` or
 * they have `folds: false`; those with `foldsFirst` come first. `select`, if given, is the set of the keys of the rows that are chosen
 * with what changes it. `onAnswer(answer, found)` gets what the server has said last, and how many rows that has found as `Rows.found`
 * says it: nothing while another filter is being asked for.
 */
export function ServerTable({ path, query, pick, noun, columns, rowKey, rowHref, defaultSort, empty, select, onAnswer }) {
  const [, redraw] = useState(0);
  const [range, setRange] = useState([0, 40, 0]);
  const box = useRef(null);
  const asked = JSON.stringify([path, query]);
  const newest = useMemo(() => new Rows(path, query, pick, () => redraw((times) => times + 1)), [asked]);
  useEffect(() => () => newest.end(), [newest]);
  // What another filter finds takes the place of what is shown once it is there.
  const former = useRef(newest);
  if (newest.total !== null) former.current = newest;
  const rows = former.current;
  useEffect(() => {
    if (rows.answer) onAnswer?.(rows.answer, rows === newest ? rows.found : null);
  }, [rows, newest, rows.answer]);
  const room = useRoom();
  const { height } = room;

  const scroll = new Scroll(rows.length, height);
  const look = () => {
    const element = box.current;
    if (!element) return;
    const { first, last, range: now } = scroll.look(element, BEYOND);
    rows.see(first, last);
    setRange((before) => (now.every((number, at) => number === before[at]) ? before : now));
  };
  useLayoutEffect(() => {
    if (box.current) box.current.scrollTop = 0;
    look();
  }, [rows]);
  useEffect(() => {
    addEventListener("resize", look);
    return () => removeEventListener("resize", look);
  });
  // Rows that come make the table higher.
  useLayoutEffect(look, [rows.length, height]);

  const cannot = newest.total === null && newest.error;
  if (rows.total === null || cannot) return html`<${Missing} error=${newest.error} what=${`${noun}s`} />`;
  const sort = query.sort ?? defaultSort;
  const [from, to] = [Math.min(range[0], rows.length), Math.min(range[1], rows.length)];
  const above = Math.max(0, from * height - range[2]);
  const below = scroll.height - above - (to - from) * height;
  const shown = [];
  for (let index = from; index < to; index += 1) shown.push(index);
  const move = (event) => moveFocus(event, box.current, scroll, rows.length);
  return html`<div class="table" aria-busy=${rows === newest ? "false" : "true"}>
    <p class="table-said" role="status">${foundOf(rows, noun)}${rows.length > 0 && select && select.chosen.size > 0 ? `, ${exact(select.chosen.size)} chosen` : ""}</p>
    <${Trouble} error=${rows.error} />
    ${rows.length === 0
      ? rows.found.exact ? html`<div class="empty">${empty}</div>` : html`<p class="loading">None yet: older ones are being looked at …</p>`
      : html`<div class="rows" ref=${box} onScroll=${look} style=${{ "--row": `${height}px` }} tabindex="0" role="region" aria-label="${noun}s" onKeyDown=${move}>
          <table aria-rowcount=${rows.length + 1}>
            <colgroup>
              ${select && html`<col class="choose" />`}
              ${columns.map((column) => html`<col key=${column.label} class=${`rank${column.rank ?? 1}`} style=${{ width: column.width ?? "auto" }} />`)}
            </colgroup>
            <thead>
              <tr aria-rowindex="1">
                ${select && html`<th scope="col" class="choose"><span class="unseen">Chosen</span></th>`}
                ${columns.map((column) => html`<${HeadCell} key=${column.label} column=${column} sort=${sort} defaultSort=${defaultSort} />`)}
              </tr>
            </thead>
            <tbody>
              ${above > 0 && html`<tr class="gap" aria-hidden="true" style=${{ height: `${above}px` }}></tr>`}
              ${shown.map((index) => {
                const row = rows.row(index);
                const key = row ? rowKey(row) : null;
                return html`<${Row} key=${index} index=${index} row=${row} id=${key} columns=${columns} rank=${room.rank} rowHref=${rowHref}
                  chosen=${select?.chosen.has(key)} choose=${select?.choose} />`;
              })}
              ${below > 0 && html`<tr class="gap" aria-hidden="true" style=${{ height: `${below}px` }}></tr>`}
            </tbody>
          </table>
        </div>`}
  </div>`;
}

/** How many rows there are, of how many that were looked for. */
function foundOf({ found: { count, exact: isExact }, answer }, noun) {
  const atLeast = isExact ? "" : "at least ";
  return answer.total > count ? `${atLeast}${exact(count)} of ${plural(answer.total, noun)}` : `${atLeast}${plural(count, noun)}`;
}

function HeadCell({ column, sort, defaultSort }) {
  const name = `rank${column.rank ?? 1} ${column.number ? "number" : ""}`;
  if (!column.orders) return html`<th scope="col" class=${name}>${column.label}</th>`;
  const at = column.orders.findIndex((order) => order.value === sort);
  const next = column.orders[(at + 1) % column.orders.length].value;
  const direction = at < 0 ? "none" : column.orders[at].direction;
  const arrow = { none: "↕", descending: "↓", ascending: "↑" }[direction];
  return html`<th scope="col" class=${name} aria-sort=${direction}>
    <button type="button" onClick=${() => setQuery({ sort: next === defaultSort ? null : next })}>${column.label}<span aria-hidden="true" class="arrow">${arrow}</span></button>
  </th>`;
}

/** A row is drawn again only if it is another, or says something else. */
class Row extends Component {
  shouldComponentUpdate(next) {
    return next.row !== this.props.row || next.chosen !== this.props.chosen || next.columns !== this.props.columns || next.rank !== this.props.rank;
  }

  render({ index, row, id, columns, rank, rowHref, chosen, choose }) {
    const parity = index % 2 ? "odd" : "";
    if (!row) {
      return html`<tr class="waiting ${parity}" aria-rowindex=${index + 2}><td colspan=${columns.length + (choose ? 1 : 0)}>…</td></tr>`;
    }
    const href = rowHref?.(row);
    // A click anywhere in a row follows its link, but for those that choose text or something else in it.
    const open = (event) => {
      if (!href || event.target.closest("a, button, input, label") || String(getSelection())) return;
      navigate(href);
    };
    return html`<tr class=${`${parity} ${href ? "opens" : ""} ${chosen ? "chosen" : ""}`} aria-rowindex=${index + 2} onClick=${open}>
      ${choose && html`<td class="choose"><input type="checkbox" aria-label=${`Choose ${id}`} checked=${Boolean(chosen)} onChange=${() => choose(id)} /></td>`}
      ${columns.map((column, at) => {
        const name = `rank${column.rank ?? 1} ${column.number ? "number" : ""}`;
        const content = column.cell(row);
        const isWide = rank === WIDE || column.number;
        if (at > 0) return html`<td key=${column.label} class=${name}>${isWide ? content : html`<div class="cell">${content}</div>`}</td>`;
        const first = href ? html`<a class="name" href=${href} data-row=${index}>${content}</a>` : html`<span class="name">${content}</span>`;
        return html`<th scope="row" key=${column.label} class=${name}>${rank === WIDE ? first : html`<div class="cell">${first}<${Folded} row=${row} columns=${columns} rank=${rank} /></div>`}</th>`;
      })}
    </tr>`;
  }
}

/** What the columns say for which there is no room. */
function Folded({ row, columns, rank }) {
  const left = columns.slice(1).filter((column) => (column.rank ?? 1) > rank && !column.number && column.folds !== false);
  const said = left.toSorted((one, other) => Boolean(other.foldsFirst) - Boolean(one.foldsFirst))
    .map((column) => [column.label, column.cell(row)])
    // What stands for nothing needs no room.
    .filter(([, content]) => content && content.props?.class !== "none");
  return said.length > 0 && html`<div class="folded">${said.map(([label, content]) => html`<span key=${label}>${content}</span>`)}</div>`;
}

/** Arrow keys go from row to row. */
function moveFocus(event, box, scroll, length) {
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  const link = event.target.closest?.("a[data-row]");
  if (!(event.key in steps) || event.target.matches("input, select")) return;
  const [top, height] = [scroll.top(box), scroll.rowHeight];
  const to = link ? Number(link.dataset.row) + steps[event.key] : Math.ceil(top / height);
  if (to < 0 || to >= length) return;
  event.preventDefault();
  const room = box.clientHeight - 2 * height;
  if (to * height < top) scroll.scrollTo(box, to * height);
  else if (to * height > top + room) scroll.scrollTo(box, to * height - room);
  requestAnimationFrame(() => requestAnimationFrame(() => box.querySelector(`a[data-row="${to}"]`)?.focus({ preventScroll: true })));
}

/** What is shown beside the filters while an order or a filter is in use. */
export function ClearFilters({ names, query }) {
  const used = names.filter((name) => query.get(name));
  if (used.length === 0) return null;
  return html`<button type="button" class="small" onClick=${() => setQuery(Object.fromEntries(names.map((name) => [name, null])))}>Clear filters</button>`;
}

