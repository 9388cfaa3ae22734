// The dashboard: its frame, and which page an address is.
import { html, render, useEffect, useRef, useState } from "./lib/html.js";
import { followLinks, useAddress } from "./lib/router.js";
import { THEMES, setTheme, theme } from "./lib/theme.js";
import { useConnection } from "./lib/live.js";
import { PageHead, Sign } from "./lib/parts.js";
import { TokenDialog } from "./lib/dialog.js";
import { Overview } from "./pages/overview.js";
import { Tenants } from "./pages/tenants.js";
import { TenantPage } from "./pages/tenant.js";
import { Streams } from "./pages/streams.js";
import { StreamPage } from "./pages/stream.js";
import { Exporters } from "./pages/exporters.js";
import { ExporterPage } from "./pages/exporter.js";
import { DeadLetters } from "./pages/dead_letters.js";
import { DeadLetterPage } from "./pages/dead_letter.js";
import { Configuration } from "./pages/configuration.js";
import { Tap } from "./pages/tap.js";
import { Watches } from "./pages/watches.js";

const NAVIGATION = [
  ["/", "Overview"],
  ["/tenants", "Tenants"],
  ["/streams", "Streams"],
  ["/exporters", "Exporters"],
  ["/dead-letters", "Dead letters"],
  ["/tap", "Tap"],
  ["/watches", "Watches"],
  ["/configuration", "Configuration"],
];

const PAGES = {
  "/": Overview,
  "/overview": Overview,
  "/tenants": Tenants,
  "/streams": Streams,
  "/streams/one": StreamPage,
  "/exporters": Exporters,
  "/dead-letters": DeadLetters,
  "/configuration": Configuration,
  "/tap": Tap,
  "/watches": Watches,
};

/** Pages of one thing, whose name is the rest of the path. */
const DETAILS = [
  ["/tenants/", TenantPage],
  ["/exporters/", ExporterPage],
  ["/dead-letters/", DeadLetterPage],
];

function pageAt(path) {
  if (path in PAGES) return [PAGES[path], null];
  const detail = DETAILS.find(([base]) => path.startsWith(base) && path.length > base.length);
  const name = detail && decoded(path.slice(detail[0].length));
  return name ? [detail[1], name] : [NoPage, null];
}

/** A segment of a path; nothing for one that is no text. */
function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}

function NoPage() {
  return html`<${PageHead} title="There is no such page" /><p><a href="/">To the overview</a></p>`;
}

function App() {
  const { path, query } = useAddress();
  const [wantsToken, setWantsToken] = useState(false);
  const first = useRef(true);
  useEffect(() => {
    const ask = () => setWantsToken(true);
    addEventListener("tokenwanted", ask);
    return () => removeEventListener("tokenwanted", ask);
  }, []);
  useEffect(() => {
    // Where there is no room for all pages, the one that is open is among those that are seen.
    document.querySelector("header [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    if (first.current) first.current = false;
    else {
      scrollTo(0, 0);
      document.getElementById("title")?.focus({ preventScroll: true });
    }
  }, [path]);
  const [Page, name] = pageAt(path);
  return html`
    <a class="skip" href="#main">Skip to content</a>
    <header class="top">
      <a class="brand" href="/"><img src="/assets/icon.svg" alt="" width="22" height="22" />Sluice</a>
      <nav aria-label="Pages"><ul>
        ${NAVIGATION.map(([href, label]) => html`<li key=${href}><a href=${href} aria-current=${isWithin(path, href) ? "page" : undefined}>${label}</a></li>`)}
      </ul></nav>
      <div class="top-end"><${Connection} /><${ThemeSwitch} /></div>
    </header>
    <main id="main" tabindex="-1"><${Page} key=${path} name=${name} query=${query} /></main>
    <${Announcements} />
    ${wantsToken && html`<${TokenDialog} onClose=${() => setWantsToken(false)} />`}
  `;
}

const isWithin = (path, href) => (href === "/" ? path === "/" || path === "/overview" : path === href || path.startsWith(`${href}/`));

/** How the page is followed; one that is not says nothing. */
const CONNECTION = {
  live: ["ok", "Live"],
  waiting: ["warning", "Reconnecting"],
  failed: ["error", "Not live"],
};

function Connection() {
  const state = useConnection();
  if (!(state in CONNECTION)) return null;
  const [kind, said] = CONNECTION[state];
  return html`<span class="state ${kind} connection"><${Sign} tone=${kind} />${said}</span>`;
}

function ThemeSwitch() {
  const [chosen, choose] = useState(theme());
  const change = (event) => {
    setTheme(event.target.value);
    choose(event.target.value);
  };
  return html`<label class="theme"><span class="unseen">Colours</span>
    <select value=${chosen} onChange=${change}>
      ${THEMES.map((name) => html`<option key=${name} value=${name} selected=${name === chosen}>${name === "system" ? "System" : name === "light" ? "Light" : "Dark"}</option>`)}
    </select></label>`;
}

/** What was done, for a few seconds. */
function Announcements() {
  const [text, setText] = useState("");
  useEffect(() => {
    let timer;
    const show = (event) => {
      setText(event.detail);
      clearTimeout(timer);
      timer = setTimeout(() => setText(""), 6000);
    };
    addEventListener("announcement", show);
    return () => removeEventListener("announcement", show);
  }, []);
  return html`<div class=${`announcement ${text ? "shown" : ""}`} role="status">${text}</div>`;
}

followLinks();
render(html`<${App} />`, document.getElementById("app"));
