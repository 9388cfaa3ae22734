// Figures as people read them. The API gives raw numbers: bytes, records, seconds, and times in RFC 3339.

const SIZES = ["B", "kB", "MB", "GB", "TB", "PB"];
const COUNTS = ["", "k", "M", "G", "T"];
const NONE = "–";

/** Three digits that count, in steps of a thousand: `1.23 M`. */
function scaled(value, units) {
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = size >= 100 || (unit === 0 && Number.isInteger(size)) ? 0 : size >= 10 ? 1 : 2;
  const number = (value < 0 ? -size : size).toFixed(digits);
  return `${number} ${units[unit]}`.trimEnd();
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export const bytes = (value) => (isNumber(value) ? scaled(value, SIZES) : NONE);
export const count = (value) => (isNumber(value) ? scaled(value, COUNTS) : NONE);
/** A value of any size: `0.00420` as well. */
export const figure = (value) => (isNumber(value) && value !== 0 && Math.abs(value) < 1 ? value.toPrecision(3) : count(value));
export const exact = (value) => (isNumber(value) ? value.toLocaleString("en-US") : NONE);
export const bytesPerSecond = (value) => (isNumber(value) ? `${scaled(value, SIZES)}/s` : NONE);
export const perSecond = (value) => (isNumber(value) ? `${scaled(value, COUNTS)}/s` : NONE);
export const percent = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : NONE);

/** A time span by its two largest units: `3 h 12 min`. */
export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 10 ? both(minutes, "min", Math.floor(seconds % 60), "s") : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? both(hours, "h", minutes % 60, "min") : both(Math.floor(hours / 24), "d", hours % 24, "h");
}

const both = (large, unit, small, smaller) => (small > 0 ? `${large} ${unit} ${small} ${smaller}` : `${large} ${unit}`);

export function nanoseconds(value) {
  if (!isNumber(value)) return NONE;
  if (value < 1e3) return `${value} ns`;
  if (value < 1e6) return `${(value / 1e3).toPrecision(3)} µs`;
  if (value < 1e9) return `${(value / 1e6).toPrecision(3)} ms`;
  return duration(value / 1e9);
}

/** How long ago a time in RFC 3339 was. */
export function ago(time, now = Date.now()) {
  const at = Date.parse(time);
  if (Number.isNaN(at)) return NONE;
  const seconds = (now - at) / 1000;
  if (seconds < 2) return "just now";
  return seconds < 60 ? `${Math.floor(seconds)} s ago` : `${duration(Math.floor(seconds))} ago`;
}

/** A time in RFC 3339 in this browser's zone: the clock if it is of today, else the date as well. */
export function clock(time) {
  const at = new Date(time ?? NaN);
  if (Number.isNaN(at.getTime())) return NONE;
  const two = (number) => String(number).padStart(2, "0");
  const hour = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const today = at.toDateString() === new Date().toDateString();
  return today ? hour : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${hour}`;
}

/** Whether a text is a moment in RFC 3339, as the API takes it. */
export function isMoment(text) {
  const [, date] = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/.exec(text.trim()) ?? [];
  if (!date || Number.isNaN(Date.parse(text.trim()))) return false;
  // Some take the 30th of February for a day of March.
  return new Date(`${date}T00:00:00Z`).toISOString().startsWith(date);
}

/** A word of the API as one for people: `backing_off` is "backing off". */
export const words = (name) => String(name ?? "").replaceAll("_", " ");

/** A problem as the API words it, as a sentence of its own. */
export const asSentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** `stream` for one, `streams` for all other numbers; `batch` and `batches`. */
export const nounFor = (number, noun) => (number === 1 ? noun : /(ch|s|x)$/.test(noun) ? `${noun}es` : `${noun}s`);

/** `1 stream`, `2 streams`. */
export const plural = (number, noun) => `${exact(number)} ${nounFor(number, noun)}`;
