// Walk through a list with j and k, open a row with Enter: the rows' own links, so Tab and Enter work without this.

const rows = [...document.querySelectorAll("tbody tr:has(.table__row-link)")];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const step = { j: 1, k: -1 }[event.key];
  if (!step || rows.length === 0) return;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  next.querySelector(".table__row-link").focus();
  next.scrollIntoView({ block: "nearest" });
});
