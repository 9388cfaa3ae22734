// Addresses: every page, filter and order is in the URL, so that it can be sent to somebody.
import { useEffect, useState } from "./html.js";

const changed = () => dispatchEvent(new Event("addresschange"));

export function navigate(url, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", url);
  changed();
}

/** Changes parameters of the address; those that are empty are left out. A filter that is typed makes no history. */
export function setQuery(changes, options = { replace: true }) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  navigate(withQuery(location.pathname, query), options);
}

/** A path with parameters, of which those that are empty are left out. */
export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  return withQuery(path, query);
}

/** A space is `%20`: a plus sign means one in forms alone. */
function withQuery(path, query) {
  const text = query.toString().replaceAll("+", "%20");
  return text ? `${path}?${text}` : path;
}

export function useAddress() {
  const [url, setUrl] = useState(() => location.pathname + location.search);
  useEffect(() => {
    const update = () => setUrl(location.pathname + location.search);
    addEventListener("popstate", update);
    addEventListener("addresschange", update);
    return () => {
      removeEventListener("popstate", update);
      removeEventListener("addresschange", update);
    };
  }, []);
  const { pathname, searchParams } = new URL(url, location.origin);
  return { path: pathname, query: searchParams };
}

/** Follows links within the dashboard without loading the document again. */
export function followLinks() {
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[href]");
    if (!link || link.target || link.origin !== location.origin) return;
    if (link.pathname.startsWith("/api/") || link.pathname.startsWith("/assets/")) return;
    if (link.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}

export const streamAddress = (stream) =>
  address("/streams/one", {
    exporter: stream.exporter,
    signal: stream.signal,
    tenant: stream.tenant,
    key: stream.key,
  });
export const exporterAddress = (name) => `/exporters/${encodeURIComponent(name)}`;
export const tenantAddress = (id) => `/tenants/${encodeURIComponent(id)}`;
export const letterAddress = (file) => `/dead-letters/${encodeURIComponent(file)}`;
