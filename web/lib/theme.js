// Light, dark, or what the system says. The choice is kept in this browser; the style sheets read `data-theme`.

const KEY = "sluice-theme";
export const THEMES = ["system", "light", "dark"];

export function theme() {
  const kept = localStorage.getItem(KEY);
  return THEMES.includes(kept) ? kept : "system";
}

export function setTheme(name) {
  localStorage.setItem(KEY, name);
  apply();
  dispatchEvent(new Event("themechange"));
}

/** Calls `listener` whenever the colours have changed; returns what ends that. */
export function onThemeChange(listener) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", listener);
  addEventListener("themechange", listener);
  return () => {
    system.removeEventListener("change", listener);
    removeEventListener("themechange", listener);
  };
}

/** The value of a colour of the style sheet, as a canvas takes it. */
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function apply() {
  document.documentElement.dataset.theme = theme();
}

apply();
