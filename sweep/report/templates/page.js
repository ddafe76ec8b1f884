"use strict";
// Draws the page's charts, and sorts and filters its tables.

async function loadPlotly() {
  const packed = document.getElementById("plotly-packed");
  if (!packed || typeof DecompressionStream === "undefined") return false;
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  return true;
}

function drawChart(values) {
  const chart = JSON.parse(values.textContent), place = values.previousElementSibling;
  const select = document.querySelector(`select[data-chart="${place.id}"]`);
  const starts = chart.views.map((_, view) => chart.views.slice(0, view).reduce((sum, one) => sum + one.traces, 0));
  const show = (view) => {
    const own = chart.views[view];
    const data = own ? chart.data.slice(starts[view], starts[view] + own.traces) : chart.data;
    const layout = { ...structuredClone(chart.layout), ...(own ? own.layout : {}) };
    return Plotly.react(place, structuredClone(data), layout, { displayModeBar: false, responsive: true });
  };
  if (select) select.addEventListener("change", () => show(select.selectedIndex));
  return show(0);
}

async function drawCharts() {
  const all = [...document.querySelectorAll("script.chart")];
  if (!all.length) return;
  if (!(await loadPlotly())) {
    for (const one of all) one.previousElementSibling.textContent = "This browser is too old for the charts.";
    return;
  }
  const drawn = () => document.querySelectorAll(".js-plotly-plot");
  // Widths of a sheet's column and of a sheet: the page is laid out for the screen while this runs.
  const printed = (place) => (place.closest(".grid") ? 330 : 680);
  addEventListener("beforeprint", () => drawn().forEach((place) => Plotly.relayout(place, { width: printed(place) })));
  addEventListener("afterprint", () => drawn().forEach((place) => Plotly.relayout(place, { width: null, autosize: true })));
  for (const one of all) await drawChart(one);
}

function cellOf(row, column) {
  let place = 0;
  for (const cell of row.cells) {
    if (place === column) return cell;
    place += cell.colSpan;
    if (place > column) return null;
  }
  return null;
}

function keyOf(row, column) {
  const cell = cellOf(row, column);
  if (!cell || cell.dataset.value === "") return null;
  const text = cell.dataset.value ?? cell.textContent.trim(), number = Number(text);
  return text !== "" && Number.isFinite(number) ? number : text || null;
}

function compared(one, other) {
  if (one === null || other === null) return null;
  if (typeof one === typeof other) return one < other ? -1 : Number(one > other);
  return typeof one === "number" ? -1 : 1;
}

function sortTable(table, head) {
  const body = table.tBodies[0], falling = head.getAttribute("aria-sort") !== "descending", column = head.cellIndex;
  const rows = [...body.rows].map((row, place) => ({ row, place, key: keyOf(row, column) }));
  rows.sort((one, other) => {
    const order = compared(one.key, other.key);
    if (order === null) return Number(one.key === null) - Number(other.key === null) || one.place - other.place;
    return (falling ? -order : order) || one.place - other.place;
  });
  body.append(...rows.map((one) => one.row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
}

function makeSortable(table) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortTable(table, head));
  }
}

// A row has a phrase in one of its cells, after the column's name (temperature 0.5), or all of its words anywhere.
function rowHas(row, heads, phrase) {
  const named = heads.map((head, column) => `${head} ${cellOf(row, column)?.textContent.replace("● ", "") ?? ""}`);
  const words = row.textContent.toLowerCase();
  return named.some((text) => text.toLowerCase().includes(phrase)) || phrase.split(/\s+/).every((word) => words.includes(word));
}

function makeFilter(box) {
  const table = document.getElementById(box.dataset.filter), said = box.querySelector("output");
  const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
  box.hidden = false;
  const input = box.querySelector("input");
  input.addEventListener("input", () => {
    const rows = [...table.tBodies[0].rows], phrase = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !rowHas(row, heads, phrase);
    said.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("[data-filter]").forEach(makeFilter);
window.chartsDrawn = drawCharts();  // a promise, for what has to wait for them
