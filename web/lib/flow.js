// The flow as a picture: receivers, routes and exporters from left to right, joined by bands as wide as what flows.
import { html, useEffect, useRef, useState } from "./html.js";
import { exporterAddress } from "./router.js";
import { ShortTable, Sign, State, tone } from "./parts.js";
import * as format from "./format.js";

const KINDS = ["receiver", "route", "exporter"];
const TITLES = { receiver: "Receivers", route: "Routes", exporter: "Exporters" };
/** Boxes of one kind that are drawn; the others are taken together. */
const MOST = 12;
const [BOX, GAP, TOP] = [44, 12, 26];
/** In boxes narrower than this, names have all of the width. */
const NARROW = 140;
const WORST = ["failing", "held", "waiting", "ok", "idle"];

export function Flow({ flow }) {
  const box = useRef(null);
  const [width, setWidth] = useState(900);
  useEffect(() => {
    const sizes = new ResizeObserver(([entry]) => setWidth(Math.max(300, Math.floor(entry.contentRect.width))));
    sizes.observe(box.current);
    return () => sizes.disconnect();
  }, []);
  const { boxes, bands, height } = layOut(flow, width);
  const leftOut = Object.entries(flow.left_out ?? {}).filter(([, count]) => count > 0);
  return html`<div class="flow" ref=${box}>
    <svg viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} role="group" aria-label="Flow from receivers through routes to exporters">
      ${KINDS.map((kind) => html`<text key=${kind} class="flow-head" x=${column(kind, width).x} y="13">${TITLES[kind]}</text>`)}
      ${bands.map((band) => html`<path key=${band.id} class=${`band ${band.state}`} d=${band.path} stroke-width=${band.thickness.toFixed(1)}><title>${band.title}</title></path>`)}
      ${boxes.map((one) => html`<${FlowBox} key=${one.id} box=${one} />`)}
    </svg>
    ${leftOut.length > 0 && html`<p class="note">Not in the picture: ${leftOut.map(([kind, count]) => format.plural(count, kind)).join(", ")} more.</p>`}
    <details class="flow-table"><summary>The same as a table</summary>
      <${ShortTable} label="Flow" rows=${bands} empty="Nothing is joined."
        columns=${[
          { label: "From", cell: (band) => band.from.name },
          { label: "To", cell: (band) => band.to.name },
          { label: "State", cell: (band) => html`<${State} name=${band.state} />` },
          { label: "Records", number: true, cell: (band) => format.perSecond(band.records) },
          { label: "Bytes", number: true, cell: (band) => format.bytesPerSecond(band.bytes) },
        ]} />
    </details>
  </div>`;
}

function FlowBox({ box }) {
  const kind = tone(box.state);
  const isNarrow = box.width < NARROW;
  const fits = Math.floor((box.width - (isNarrow ? 14 : 38)) / 7.2);
  // Where there is little room, what names have in common is left out: the type.
  const known = isNarrow ? box.name.slice(box.name.indexOf("/") + 1) : box.name;
  // Names begin alike, and differ at their ends.
  const name = known.length > fits ? `…${known.slice(1 - Math.max(2, fits))}` : known;
  const rate = isNarrow ? format.perSecond(box.records) : `${format.perSecond(box.records)} · ${format.bytesPerSecond(box.bytes)}`;
  const drawn = html`<g class=${`flow-box ${kind}`} transform=${`translate(${box.x} ${box.y})`}>
    <title>${`${box.name}: ${format.words(box.state)}${box.title ? `. ${box.title}` : ""}`}</title>
    <rect width=${box.width} height=${BOX} rx="6" />
    <svg x=${isNarrow ? box.width - 22 : 8} y=${isNarrow ? 24 : 14} width="16" height="16"><${Sign} tone=${kind} /></svg>
    <text x=${isNarrow ? 7 : 30} y="19" class=${`flow-name ${isNarrow ? "narrow" : ""}`}>${name}</text>
    <text x=${isNarrow ? 7 : 30} y="35" class="flow-rate">${rate}</text>
  </g>`;
  return box.href ? html`<a href=${box.href}>${drawn}</a>` : drawn;
}

function column(kind, width) {
  const at = KINDS.indexOf(kind);
  const size = Math.min(230, Math.floor(width * (width < 520 ? 0.305 : 0.27)));
  return { x: Math.round((at * (width - size)) / 2), size };
}

/** Where everything goes. */
function layOut(flow, width) {
  const nodes = new Map(flow.nodes.map((node) => [node.id, { ...node, in: [0, 0], out: [0, 0] }]));
  const add = (sum, edge) => {
    sum[0] += edge.records_per_second ?? 0;
    sum[1] += edge.bytes_per_second ?? 0;
  };
  for (const edge of flow.edges) {
    if (nodes.has(edge.from)) add(nodes.get(edge.from).out, edge);
    if (nodes.has(edge.to)) add(nodes.get(edge.to).in, edge);
  }
  const places = new Map();
  const boxes = KINDS.flatMap((kind) => boxesOf(kind, [...nodes.values()].filter((node) => node.kind === kind), width, places));
  const highest = Math.max(1, ...KINDS.map((kind) => boxes.filter((box) => box.kind === kind).length));
  const height = TOP + highest * (BOX + GAP) - GAP + 2;
  for (const kind of KINDS) centre(boxes.filter((box) => box.kind === kind), height);
  return { boxes, bands: bandsOf(flow.edges, places), height };
}

function boxesOf(kind, nodes, width, places) {
  const { x, size } = column(kind, width);
  const rate = (node) => Math.max(node.in[0], node.out[0]);
  // Those that need somebody are never among those that are taken together.
  const sorted = nodes.length <= MOST ? nodes : nodes.toSorted((a, b) => WORST.indexOf(a.state) - WORST.indexOf(b.state) || rate(b) - rate(a));
  const alone = sorted.length <= MOST ? sorted : sorted.slice(0, MOST - 1);
  const others = sorted.slice(alone.length);
  const boxes = alone.map((node) => {
    const [records, bytes] = kind === "receiver" ? node.out : node.in;
    const href = kind === "exporter" ? exporterAddress(node.name) : null;
    return { id: node.id, kind, name: node.name, state: node.state, title: node.title, x, width: size, records, bytes, href };
  });
  alone.forEach((node, at) => places.set(node.id, boxes[at]));
  if (others.length > 0) {
    const sum = (at) => others.reduce((total, node) => total + (kind === "receiver" ? node.out[at] : node.in[at]), 0);
    const state = WORST.find((state) => others.some((node) => node.state === state)) ?? "idle";
    const href = kind === "exporter" ? "/exporters" : null;
    const rest = { id: `${kind}-others`, kind, name: `${others.length} more`, state, x, width: size, records: sum(0), bytes: sum(1), href };
    boxes.push(rest);
    for (const node of others) places.set(node.id, rest);
  }
  return boxes;
}

function centre(boxes, height) {
  const used = boxes.length * (BOX + GAP) - GAP;
  const from = TOP + Math.max(0, (height - TOP - used) / 2);
  boxes.forEach((box, at) => {
    box.y = Math.round(from + at * (BOX + GAP));
  });
}

function bandsOf(edges, places) {
  const joined = new Map();
  for (const edge of edges) {
    const [from, to] = [places.get(edge.from), places.get(edge.to)];
    if (!from || !to) continue;
    const id = `${from.id}>${to.id}`;
    const band = joined.get(id) ?? { id, from, to, records: 0, bytes: 0 };
    band.records += edge.records_per_second ?? 0;
    band.bytes += edge.bytes_per_second ?? 0;
    joined.set(id, band);
  }
  const all = [...joined.values()];
  const most = Math.max(1e-9, ...all.map((band) => band.bytes));
  for (const band of all) {
    // By the root, so that what is a hundredth of the largest can still be told from nothing.
    band.thickness = band.bytes > 0 ? 1.5 + 22 * Math.sqrt(band.bytes / most) : 1;
    band.state = stateOf(band);
    band.title = `${band.from.name} → ${band.to.name}: ${format.perSecond(band.records)}, ${format.bytesPerSecond(band.bytes)}`;
  }
  const ends = [["from", "to"], ["to", "from"]].flatMap(([here, there]) => sides(all, here, there));
  const shrink = Math.min(1, ...ends.map((side) => (BOX - 6) / side.reduce((sum, band) => sum + band.thickness, 0)));
  for (const band of all) band.thickness = Math.max(1, band.thickness * shrink);
  for (const [here, there] of [["from", "to"], ["to", "from"]]) sides(all, here, there).forEach((side) => stack(side, here));
  for (const band of all) {
    const [x1, x2] = [band.from.x + band.from.width, band.to.x];
    const bend = (x2 - x1) / 2;
    band.path = `M${x1} ${band.fromY}C${x1 + bend} ${band.fromY} ${x2 - bend} ${band.toY} ${x2} ${band.toY}`;
  }
  return all;
}

/** What flows is as its end is; where nothing flows, a destination that is away is still told. */
function stateOf({ bytes, to }) {
  if (bytes > 0) return to.state === "idle" ? "ok" : to.state;
  return to.state === "ok" ? "idle" : to.state;
}

/** The bands at each side of a box, in the order in which they don't cross. */
function sides(bands, here, there) {
  const by = new Map();
  for (const band of bands) by.set(band[here], [...(by.get(band[here]) ?? []), band]);
  return [...by.values()].map((side) => side.toSorted((a, b) => a[there].y - b[there].y));
}

/** Lays the bands at one side of a box one below the other. */
function stack(side, here) {
  const whole = side.reduce((sum, band) => sum + band.thickness, 0);
  let y = side[0][here].y + BOX / 2 - whole / 2;
  for (const band of side) {
    band[`${here}Y`] = (y + band.thickness / 2).toFixed(1);
    y += band.thickness;
  }
}
