// Draw the figures of a page with Plotly, in the colours of the theme, and again when the theme changes.
// A figure is JSON beside its canvas; a colour in it is the name of a design token.

const COLOUR_KEYS = new Set(["color", "bordercolor", "bgcolor"]);

function tokenReader() {
  // A custom property with light-dark() is resolved only where it is used, so it is used on a hidden element.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  return {
    colour(name) {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    },
    close: () => probe.remove(),
  };
}

function withColours(value, read, key = "") {
  if (Array.isArray(value)) return value.map((item) => withColours(item, read, key));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withColours(item, read, name)]));
  }
  return COLOUR_KEYS.has(key) && typeof value === "string" ? read(value) : value;
}

function layoutFor(figure, read, width) {
  const font = getComputedStyle(document.body).fontFamily;
  const faint = read("text-faint");
  const axis = {
    gridcolor: read("line"),
    linecolor: read("line-strong"),
    zerolinecolor: read("line-strong"),
    tickfont: { color: faint, size: 11 },
    automargin: true,
    nticks: 6,
  };
  const own = withColours(figure.layout, read);
  return {
    margin: { l: 8, r: 8, t: 18, b: 22 },
    showlegend: false,
    hoverlabel: {
      bgcolor: read("surface-raised"),
      bordercolor: read("line-strong"),
      font: { family: font, size: 12, color: read("text") },
      align: "left",
    },
    ...own,
    font: { family: font, size: 11, color: read("text-muted") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: { ...axis, showgrid: false, automargin: false, nticks: Math.max(3, Math.min(9, Math.floor(width / 70))), ...own.xaxis },
    yaxis: { ...axis, ...own.yaxis },
    dragmode: "zoom",
  };
}

function draw(chart) {
  const canvas = chart.querySelector(".chart__canvas");
  const figure = JSON.parse(chart.querySelector("script[type='application/json']").textContent);
  const tokens = tokenReader();
  const traces = withColours(figure.data, tokens.colour).map((trace) => ({
    ...trace,
    textfont: { color: tokens.colour("text-muted"), size: 11 },
  }));
  const layout = layoutFor(figure, tokens.colour, canvas.clientWidth);
  tokens.close();
  Plotly.react(canvas, traces, layout, { displayModeBar: false, responsive: true, doubleClick: false, showTips: false });
  if (canvas.dataset.isWired) return;
  canvas.dataset.isWired = "yes";
  const zoom = chart.dataset.zoomUrl;
  // Dragging over a stretch of time opens the page for that stretch; legend and bars stay as they are.
  canvas.on("plotly_relayout", (change) => {
    const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    if (zoom && from && to) location.assign(withRange(zoom, from, to));
  });
}

function withRange(address, from, to) {
  const url = new URL(address, location.href);
  url.searchParams.delete("range");
  url.searchParams.set("from", from.slice(0, 16).replace(" ", "T"));
  url.searchParams.set("to", to.slice(0, 16).replace(" ", "T"));
  return url;
}

function drawAll() {
  for (const chart of document.querySelectorAll(".chart")) draw(chart);
}

await document.fonts.ready;
drawAll();
document.addEventListener("kr:theme", drawAll);
