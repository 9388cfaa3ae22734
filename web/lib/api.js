// The API: requests with the token of this tab, and resources that are followed by server-sent events.

const TOKEN = "sluice-token";
const RETRY_SECONDS = [1, 2, 4, 8, 15];
/** The server says something every 15 s at the least. */
const SILENT_SECONDS = 40;

/** An answer that is no success, with what the server says. */
class ApiError extends Error {
  constructor(status, body) {
    // What is said of tokens is for programs: a page asks for one.
    super(status === 401 ? (hasToken() ? "the token of this tab is not accepted" : "a token is needed") : (body.error ?? `the server answered ${status}`));
    this.status = status;
    this.body = body;
  }
}

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

/** Takes another token for this tab; everything that waits for one goes on. */
export function setToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
  dispatchEvent(new Event("tokenchange"));
}

export async function get(path, signal) {
  return (await request("GET", path, { signal })).json();
}

/** Asks for a change. The body is sent as JSON, unless it is a string or bytes with a content type of their own. */
export async function send(method, path, body, contentType = "application/json") {
  const raw = typeof body === "string" || body instanceof Uint8Array || body === undefined;
  const answer = await request(method, path, {
    body: raw ? body : JSON.stringify(body),
    headers: body === undefined ? {} : { "Content-Type": contentType },
  });
  const text = await answer.text();
  return text.trim().startsWith("{") ? JSON.parse(text) : {};
}

async function request(method, path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  const token = sessionStorage.getItem(TOKEN);
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, method, headers, cache: "no-store" });
  if (answer.ok) return answer;
  throw new ApiError(answer.status, await problem(answer));
}

async function problem(answer) {
  const text = (await answer.text()).trim();
  try {
    const body = JSON.parse(text);
    return typeof body === "object" && body !== null ? body : { error: text };
  } catch {
    return text ? { error: text } : {};
  }
}

/** Whether a failure ends only by another request, rather than by the same one later. */
const isFinal = (error) => error instanceof ApiError && error.status < 500 && error.status !== 429;

/**
 * Follows a resource: `on.event(name, data)` for each event, `on.state(state, error)` for how that goes: `live`, `waiting`
 * (with the error for which it is tried again), or `failed`. What can't be followed is asked for again every five seconds.
 * Nothing is asked while the tab is hidden. Returns what ends it.
 */
export function follow(path, on) {
  let ended = false;
  let attempt = null;
  let failures = 0;
  let timer = null;

  async function run() {
    clearTimeout(timer);
    if (ended || document.hidden) return;
    const mine = new AbortController();
    attempt = mine;
    let next = null;
    try {
      const answer = await request("GET", path, {
        headers: { Accept: "text/event-stream, application/json;q=0.5" },
        signal: mine.signal,
      });
      failures = 0;
      on.state("live");
      if (isEventStream(answer)) {
        await readEvents(answer, mine, (name, data) => {
          if (!mine.signal.aborted) on.event(name, data);
        });
        next = RETRY_SECONDS[0];
        if (!mine.signal.aborted) on.state("waiting", new Error("the connection has ended"));
      } else {
        const data = await answer.json();
        if (!mine.signal.aborted) on.event("snapshot", data);
        next = 5;
      }
    } catch (error) {
      if (ended || mine !== attempt) return;
      if (isFinal(error)) {
        on.state("failed", error);
      } else {
        next = RETRY_SECONDS[Math.min(failures, RETRY_SECONDS.length - 1)];
        failures += 1;
        on.state("waiting", mine.signal.aborted ? new Error("the server says nothing") : error);
      }
    }
    if (next !== null && !ended && mine === attempt) timer = setTimeout(run, next * 1000);
  }

  function again() {
    stop();
    run();
  }

  function stop() {
    clearTimeout(timer);
    const running = attempt;
    attempt = null;
    running?.abort();
  }

  document.addEventListener("visibilitychange", again);
  addEventListener("tokenchange", again);
  run();
  return () => {
    ended = true;
    document.removeEventListener("visibilitychange", again);
    removeEventListener("tokenchange", again);
    stop();
  };
}

const isEventStream = (answer) => (answer.headers.get("content-type") ?? "").startsWith("text/event-stream");

/** Reads events to the end of the answer, or until the server says nothing for too long. */
async function readEvents(answer, controller, take) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let name = "message";
  let data = [];
  for (;;) {
    const silence = setTimeout(() => controller.abort(), SILENT_SECONDS * 1000);
    const { done, value } = await reader.read().finally(() => clearTimeout(silence));
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) take(name, JSON.parse(data.join("\n")));
        name = "message";
        data = [];
      } else if (line.startsWith("event:")) {
        name = line.slice(6).trim();
      } else if (line.startsWith("data:")) {
        data.push(line.slice(5).trimStart());
      }
    }
  }
}
