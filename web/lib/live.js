// What pages use of the API: hooks that give the newest state of a resource, and how well it is followed.
import { useEffect, useRef, useState } from "./html.js";
import { follow, get } from "./api.js";

/** How each resource that the page follows fares, for the header. */
const states = new Map();
const listeners = new Set();

/** Says how a resource fares that is followed; `null` once it is not any more. */
export function report(id, state) {
  if (state === null) states.delete(id);
  else states.set(id, state);
  for (const listener of listeners) listener();
}

/** The worst of what is followed: `failed`, `waiting`, `live`, or `idle` if nothing is. */
export function useConnection() {
  const [state, setState] = useState("idle");
  useEffect(() => {
    const update = () => {
      const all = [...states.values()];
      setState(["waiting", "failed", "live"].find((state) => all.includes(state)) ?? "idle");
    };
    listeners.add(update);
    update();
    return () => listeners.delete(update);
  }, []);
  return state;
}

/**
 * The newest state of the resource at `path`, `null` before the first; and the error if it can't be had. While another path
 * is being asked for, the former state stays, as `stale`. A path of `null` follows nothing.
 */
export function useLive(path) {
  const [shown, setShown] = useState({ path: null, data: null });
  const [error, setError] = useState(null);
  useEffect(() => {
    setError(null);
    if (path === null) return undefined;
    const id = Symbol(path);
    const stop = follow(path, {
      event: (name, data) => name === "snapshot" && setShown({ path, data }),
      state: (state, failure) => {
        report(id, state);
        setError(state === "live" ? null : failure);
        if (failure?.status === 401) dispatchEvent(new Event("tokenwanted"));
      },
    });
    return () => {
      stop();
      report(id, null);
    };
  }, [path]);
  return { data: shown.data, stale: shown.path !== path, error };
}

/** Calls `tick` now and every so many seconds while the tab is seen, and once more when `deps` change. */
function useEvery(seconds, tick, deps) {
  const latest = useRef(tick);
  latest.current = tick;
  useEffect(() => {
    const run = () => document.hidden || latest.current();
    run();
    const timer = setInterval(run, seconds * 1000);
    document.addEventListener("visibilitychange", run);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", run);
    };
  }, [seconds, ...deps]);
}

/** What the resource at `path` says, read every so many seconds, `null` before the first time; and the error if the newest reading failed. */
export function useRead(seconds, path) {
  const [shown, setShown] = useState({ data: null, error: null });
  useEvery(seconds, async () => {
    try {
      setShown({ data: await get(path), error: null });
    } catch (error) {
      setShown((before) => ({ ...before, error }));
    }
  }, [path]);
  return [shown.data, shown.error];
}
