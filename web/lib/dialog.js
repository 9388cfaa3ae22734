// Dialogs: a change is asked back before it is made. `<dialog>` keeps the focus within and gives it back.
import { html, useId, useLayoutEffect, useRef, useState } from "./html.js";
import { hasToken, setToken } from "./api.js";
import { asSentence } from "./format.js";
import { Sign, sentence } from "./parts.js";

/** What a change needs, unless its action says something else. */
const WRITE_TOKEN = "It needs the write token of the configuration (`admin.write_token`), or a client certificate where there is none.";

/** Says something to everybody, also to who can't see it. */
function announce(text) {
  dispatchEvent(new CustomEvent("announcement", { detail: text }));
}

function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  const id = useId();
  // At once, so that the focus is never in between.
  useLayoutEffect(() => {
    const element = dialog.current;
    const opener = document.activeElement;
    element.showModal();
    return () => {
      element.close();
      opener?.focus?.();
    };
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby=${id} onCancel=${(event) => {
    event.preventDefault();
    onClose();
  }}>
    <h2 id=${id}>${title}</h2>
    ${children}
  </dialog>`;
}

/**
 * Asks back before a change. `run(values)` makes it, with what the fields say, and returns a sentence on what was done, or
 * markup that stays until the dialog is closed, and what `closed()` does then, if it is given. A tab without a token, or with one that does not do, is told what the change `needs`.
 */
function ActionDialog({ title, text, fields = [], confirm, danger, needs = WRITE_TOKEN, run, closed, onClose }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [done, setDone] = useState(null);
  const [hadToken] = useState(hasToken());
  const last = useRef(null);
  useLayoutEffect(() => last.current?.focus(), [done]);
  const wantsToken = !hadToken || (error && (error.status === 401 || error.status === 403));
  const submit = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    if (values.token) setToken(values.token);
    setBusy(true);
    setError(null);
    try {
      const result = await run(values);
      if (typeof result === "string") {
        announce(result);
        onClose();
      } else {
        // What was asked stays, whatever has changed since.
        setDone({ title, result });
      }
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  if (done) {
    const close = () => {
      onClose();
      closed?.();
    };
    return html`<${Dialog} title=${done.title} onClose=${close}>
      <div class="dialog-body" role="status">${done.result}</div>
      <div class="dialog-actions"><button type="button" class="primary" ref=${last} onClick=${close}>Close</button></div>
    <//>`;
  }
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form method="dialog" onSubmit=${submit}>
      <div class="dialog-body">
        ${text && html`<p>${text}</p>`}
        ${fields.map((field) => html`<label class="field" key=${field.name}><span>${field.label}</span>
          <input name=${field.name} defaultValue=${field.value} required=${field.required ?? true} pattern=${field.pattern}
            autocomplete="off" title=${field.hint} /></label>`)}
        ${error && html`<p class="notice error" role="alert"><${Sign} tone="error" /><span>${sentence(asSentence(error.message))}</span></p>`}
        ${wantsToken && html`<label class="field"><span>Write token</span>
          <input name="token" type="password" autocomplete="off" aria-describedby="write-token-needed" /></label>
          <p class="note" id="write-token-needed">${sentence(needs)} This tab keeps it until it is closed.</p>`}
      </div>
      <div class="dialog-actions">
        <button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>${busy ? "…" : confirm}</button>
      </div>
    </form>
  <//>`;
}

/** Asks for the token that the API wants. */
export function TokenDialog({ onClose }) {
  const submit = (event) => {
    event.preventDefault();
    setToken(new FormData(event.target).get("token"));
    onClose();
  };
  return html`<${Dialog} title="This Sluice asks for a token" onClose=${onClose}>
    <form method="dialog" onSubmit=${submit}>
      <div class="dialog-body">
        <p>${hasToken() ? "The token of this tab is not accepted. " : ""}Enter the read token of the configuration
          (<code>admin.read_token</code>), or the write token. This tab keeps it until it is closed.</p>
        <label class="field"><span>Token</span><input name="token" type="password" required autofocus autocomplete="off" /></label>
      </div>
      <div class="dialog-actions">
        <button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class="primary">Use it</button>
      </div>
    </form>
  <//>`;
}

/** A button that opens the dialog of an action. */
export function ActionButton({ label, action, danger, disabled = false }) {
  // As it was when the dialog was opened: what is asked is what is done, whatever the page shows meanwhile.
  const [opened, setOpened] = useState(null);
  return html`<button type="button" class=${danger ? "danger" : ""} disabled=${disabled} onClick=${() => setOpened(action)}>${label}</button>
    ${opened && html`<${ActionDialog} ...${opened} closed=${action.closed} danger=${danger} onClose=${() => setOpened(null)} />`}`;
}
