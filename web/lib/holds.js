// Holding a stream or an exporter, releasing it, and having what waits try now.
import { html } from "./html.js";
import { send } from "./api.js";
import { ActionButton } from "./dialog.js";
import { plural } from "./format.js";
import { Moment, Sign } from "./parts.js";

/** Whether an operator holds a stream. */
export const isByOperator = (hold) => hold?.reason === "held by an operator";

/** Whether an operator or the row of its tenant holds a stream: then it is not tried before that has ended. */
export const isBySomebody = (hold) => isByOperator(hold) || hold?.reason === "held by the row of its tenant";

/** What has come of a release, as the API says it. */
export function goneOn({ released, tried, away }) {
  const parts = [
    released > 0 && `${plural(released, "stream")} ${released === 1 ? "goes" : "go"} on`,
    tried > 0 && `${plural(tried, "stream")} ${tried === 1 ? "is" : "are"} tried now`,
    away > 0 && `${plural(away, "stream")} ${away === 1 ? "waits" : "wait"} for a destination that does not answer`,
  ];
  return parts.filter(Boolean).join(", ") || "nothing waited";
}

/** What has come of a release has to be known from the answer, and is said so. */
async function release(path, body, said) {
  return `${said}: ${goneOn(await send("POST", `${path}/release`, body))}.`;
}

/** Has what an upstream has refused, or failed, try at once. `path` and `body` are as those of `HoldActions`. */
export function TryNow({ name, path, body = {} }) {
  const action = {
    title: `Try now to deliver what waits of ${name}?`,
    text: "It does so by itself, but less and less often. What is refused again waits on.",
    confirm: "Try now",
    run: () => release(path, body, name),
  };
  return html`<${ActionButton} label="Try now" action=${action} />`;
}

/**
 * Holds what is not `held` by an operator, and releases what is; what `waits` before another attempt can be tried now. `path` is where
 * `/hold` and `/release` are asked for, and `body` what is meant, as far as the path does not say it.
 */
export function HoldActions({ name, path, held, waits, body = {} }) {
  const hold = {
    title: `Deliver nothing of ${name} for now?`,
    text: "Its records are queued, until the time is over, until you release it, or until there is no more room.",
    fields: [{ name: "for", label: "Hold it for (until it is released, if empty)", value: "10m", required: false, hint: "such as 10m or 2h" }],
    confirm: "Hold",
    run: async (values) => {
      await send("POST", `${path}/hold`, { ...body, for: values.for || null });
      return `${name} is held ${values.for ? `for ${values.for}` : "until it is released"}.`;
    },
  };
  const ending = {
    title: `Deliver the records of ${name} again?`,
    text: "What waits is tried at once.",
    confirm: "Release",
    run: () => release(path, body, `${name} is released`),
  };
  if (held) return html`<${ActionButton} key="release" label="Release" action=${ending} />`;
  return html`${waits && html`<${TryNow} key="try" name=${name} path=${path} body=${body} />`}
    <${ActionButton} key="hold" label="Hold" action=${hold} />`;
}

/** That an operator holds it: who, since when and until when. */
export function HeldByOperator({ what, hold }) {
  return html`<p class="notice warning"><${Sign} tone="warning" /><span>
    ${what} held by an operator${hold.by ? ` (${hold.by})` : ""} since <${Moment} at=${hold.since} as="clock" />,
    until ${hold.until ? html`<${Moment} at=${hold.until} as="clock" />` : "it is released"}.
  </span></p>`;
}
