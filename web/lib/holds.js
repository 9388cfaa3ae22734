// Holding a stream or an exporter, and releasing it.
import { html } from "./html.js";
import { send } from "./api.js";
import { ActionButton } from "./dialog.js";
import { Moment, Sign } from "./parts.js";

/**
 * Holds what is not `held` by an operator, and releases what is. `path` is where `/hold` and `/release` are asked for, and `body` what is
 * meant, as far as the path does not say it.
 */
export function HoldButton({ name, path, held, body = {} }) {
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
  const release = {
    title: `Deliver the records of ${name} again?`,
    text: "What waits is tried at once.",
    confirm: "Release",
    run: async () => {
      await send("POST", `${path}/release`, body);
      return `${name} is released.`;
    },
  };
  return held
    ? html`<${ActionButton} key="release" label="Release" action=${release} />`
    : html`<${ActionButton} key="hold" label="Hold" action=${hold} />`;
}

/** That an operator holds it: who, since when and until when. */
export function HeldByOperator({ what, hold }) {
  return html`<p class="notice warning"><${Sign} tone="warning" /><span>
    ${what} held by an operator${hold.by ? ` (${hold.by})` : ""} since <${Moment} at=${hold.since} as="clock" />,
    until ${hold.until ? html`<${Moment} at=${hold.until} as="clock" />` : "it is released"}.
  </span></p>`;
}
