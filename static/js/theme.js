// Remember the theme in a cookie, which the server reads: so the first paint is right without an inline script.

const YEAR_SECONDS = 31536000;

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function choose(theme) {
  const root = document.documentElement;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  if (theme === "system") {
    delete root.dataset.theme;
    document.cookie = `kr_theme=; Path=/; Max-Age=0; SameSite=Lax${secure}`;
  } else {
    root.dataset.theme = theme;
    document.cookie = `kr_theme=${theme}; Path=/; Max-Age=${YEAR_SECONDS}; SameSite=Lax${secure}`;
  }
  mark();
  document.dispatchEvent(new CustomEvent("kr:theme"));
}

function mark() {
  const current = document.documentElement.dataset.theme ?? "system";
  for (const option of document.querySelectorAll("[data-theme-choice]")) {
    option.setAttribute("aria-pressed", String(option.dataset.themeChoice === current));
  }
}

document.addEventListener("click", (event) => {
  const option = event.target.closest("[data-theme-choice]");
  if (option) choose(option.dataset.themeChoice);
  const toggle = event.target.closest("[data-theme-toggle]");
  if (toggle) choose(isDark() ? "light" : "dark");
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  document.dispatchEvent(new CustomEvent("kr:theme")),
);
mark();
