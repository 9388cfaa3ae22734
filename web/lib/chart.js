// Charts over time.
import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef, useState } from "./html.js";
import { Figure } from "./parts.js";
import { colour, onThemeChange } from "./theme.js";
import * as format from "./format.js";

const HEIGHT = 150;
/** Lines differ by their dashes as well as by their colours. */
const DASHES = [[], [6, 3], [2, 3]];

/**
 * `series` are `{ label, values, colour }` with one value for each of `times` (seconds since 1970), `null` where nothing is
 * known; `as` is how a value is written; `limit`, if given, is drawn as a line that must not be passed.
 */
export function Chart({ title, times, series, as, limit }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const labels = series.map((one) => one.label).join();
  const lines = limit ? [...series, { label: "limit", values: times.map(() => limit), colour: "muted" }] : series;
  const data = [times, ...lines.map((line) => line.values)];

  useEffect(() => {
    const element = box.current;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element.clientWidth, lines, as, setAt), data, element);
    };
    draw();
    // It may still be told of the last change once the chart has gone.
    const sizes = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    sizes.observe(element);
    const stop = onThemeChange(() => requestAnimationFrame(draw));
    return () => {
      sizes.disconnect();
      stop();
      plot.current.destroy();
      plot.current = null;
    };
  }, [labels, as, Boolean(limit)]);
  useEffect(() => plot.current?.setData(data), [times, ...series.map((one) => one.values)]);

  const index = at ?? times.length - 1;
  const isFlat = series.every((one) => !one.values.some((value) => value > 0));
  return html`<figure class="chart">
    <figcaption>
      <span class="chart-title">${title}</span>
      <span class="chart-time">${at === null ? "" : format.clock(new Date(times[index] * 1000).toISOString())}</span>
      <span class="chart-keys">
        ${series.map((one, number) => html`<span key=${one.label}>
          <svg viewBox="0 0 20 4" aria-hidden="true"><line x1="0" x2="20" y1="2" y2="2" class=${`line-${one.colour}`} stroke-dasharray=${DASHES[number % 3].join(" ")} /></svg>
          ${one.label} <b><${Figure} value=${one.values[index]} as=${as} /></b></span>`)}
      </span>
    </figcaption>
    <div class=${`plot ${isFlat ? "flat" : ""}`} ref=${box} role="img" aria-label=${summary(title, series, as)}></div>
    ${isFlat && html`<p class="plot-nothing" aria-hidden="true">nothing yet</p>`}
  </figure>`;
}

/** What somebody reads who does not see the lines. */
function summary(title, series, as) {
  const said = series.map((one) => {
    const known = one.values.filter((value) => value !== null);
    if (!known.some((value) => value > 0)) return `${one.label}: nothing yet`;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    return `${one.label}: now ${format[as](known.at(-1))}, lowest ${format[as](low)}, highest ${format[as](high)}`;
  });
  return `${title}. ${said.join(". ")}.`;
}

function options(width, lines, as, setAt) {
  const grid = { stroke: colour("line"), width: 1 };
  const ticks = { show: false };
  const text = colour("muted");
  const font = "11px system-ui, sans-serif";
  return {
    width,
    height: HEIGHT,
    // The last time stands below the end of the lines.
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, sync: { key: "time" }, drag: { x: false, y: false } },
    hooks: { setCursor: [(plot) => setAt(plot.cursor.idx ?? null)] },
    scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [
      { stroke: text, font, grid: { show: false }, ticks, size: 28, gap: 8, space: 70, values: (_, all) => all.map(hourAndMinute) },
      { stroke: text, font, grid, ticks, size: 64, space: 26, gap: 6, values: (_, all) => all.map((value) => format[as](value)) },
    ],
    series: [
      {},
      ...lines.map((line, number) => ({
        label: line.label,
        stroke: colour(line.colour),
        width: line.label === "limit" ? 1 : 1.75,
        dash: line.label === "limit" ? [2, 4] : DASHES[number % 3],
        fill: lines.length === 1 ? `color-mix(in srgb, ${colour(line.colour)} 12%, transparent)` : undefined,
        points: { size: 4 },
      })),
    ],
  };
}

function hourAndMinute(seconds) {
  const at = new Date(seconds * 1000);
  return `${String(at.getHours()).padStart(2, "0")}:${String(at.getMinutes()).padStart(2, "0")}`;
}

/** The times of a history: one for each step. */
export const timesOf = (history, length) => {
  const from = Date.parse(history.from) / 1000;
  return Array.from({ length }, (_, step) => from + step * history.step_seconds);
};
