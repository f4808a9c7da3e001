"use strict";
// Moving about, pointers and keys; and the beginning.

// ---------------------------------------------------------------- moving

function clampView() {
  $("tip").hidden = true; // what was under the pointer is elsewhere now
  state.hover = -1;
  const least = Math.max(m.until * 1e-7, 1e-9), most = m.until * 1.04;
  const span = Math.min(Math.max(view.t1 - view.t0, least), most);
  if (span !== view.t1 - view.t0) view.t1 = view.t0 + span;
  const slack = m.until * 0.04;
  const move = Math.max(-slack / 2 - view.t0, 0) || Math.min(m.until + slack - view.t1, 0);
  view.t0 += move;
  view.t1 += move;
  view.rowHeight = Math.min(Math.max(view.rowHeight, LEAST_ROW), MOST_ROW);
  view.top = Math.min(Math.max(view.top, 0), Math.max(0, m.nRows * view.rowHeight - plotHeight()));
  ask();
}
function zoom(factor, at = (view.t0 + view.t1) / 2) {
  view.t0 = at - (at - view.t0) * factor;
  view.t1 = at + (view.t1 - at) * factor;
  clampView();
}
function shift(share) {
  const by = (view.t1 - view.t0) * share;
  view.t0 += by;
  view.t1 += by;
  clampView();
}
function stretch(factor, y = AXIS + plotHeight() / 2) {
  const row = (y - AXIS + view.top) / view.rowHeight;
  view.rowHeight = Math.min(Math.max(view.rowHeight * factor, LEAST_ROW), MOST_ROW);
  view.top = row * view.rowHeight - (y - AXIS);
  clampView();
}
function showAll() {
  view.t0 = 0;
  view.t1 = m.until * 1.02;
  view.rowHeight = Math.min(USUAL_ROW, Math.max(LEAST_ROW, plotHeight() / Math.max(1, m.nRows)));
  view.top = 0;
  clampView();
}
function show(i, close = false) {
  const span = m.end[i] - m.start[i], seen = view.t1 - view.t0;
  if (close || m.start[i] > view.t1 || m.end[i] < view.t0 || span > seen || span < seen / 400) {
    const around = Math.max(span * (close ? 1.6 : 20), m.until * 1e-6), middle = (m.start[i] + m.end[i]) / 2;
    const wanted = close ? around : Math.min(seen, Math.max(around, span * 1.2));
    view.t0 = middle - wanted / 2;
    view.t1 = middle + wanted / 2;
  }
  if (view.rowHeight < 12) view.rowHeight = 14;
  const y = m.row[i] * view.rowHeight;
  if (y < view.top || y + view.rowHeight > view.top + plotHeight()) view.top = y - plotHeight() / 2;
  clampView();
}

// ---------------------------------------------------------------- pointer and keys

function tip(event, head, lines) {
  const box = $("tip");
  box.replaceChildren(element("b", "", head), ...lines.map(([what, value]) => element("div", "", what ? `${what}: ${value}` : value)));
  box.hidden = false;
  const { offsetWidth: wide, offsetHeight: high } = box;
  box.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - wide - 8))}px`;
  box.style.top = `${event.clientY + 18 + high > innerHeight ? Math.max(4, event.clientY - high - 12) : event.clientY + 18}px`;
}
function hover(event) {
  const x = event.offsetX, y = event.offsetY, row = toRow(y), before = state.hover;
  state.hover = -1;
  if (y < AXIS || row >= m.nRows) $("tip").hidden = true;
  else if (x < labelWidth) {
    const w = Model.workerOf(m, row);
    tip(event, m.workers[w], [["has", m.resources.map((_, k) => m.capacity[w * K + k] && Model.sayAmount(m, k, m.capacity[w * K + k])).filter(Boolean).join(", ")]]);
  } else {
    state.hover = Model.hit(m, row, toTime(x), (3 * (view.t1 - view.t0)) / plotWidth());
    if (state.hover >= 0 && state.off.has(classOf(state.hover))) state.hover = -1;
    if (state.hover < 0) $("tip").hidden = true;
    else tip(event, m.tasks[m.task[state.hover]], describe(state.hover));
  }
  if (before !== state.hover) ask();
}

function listenToChart() {
  const chart = $("chart");
  const pointers = new Map(); // of two fingers the distance zooms
  let moved = 0;
  chart.onpointerdown = (event) => {
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    chart.setPointerCapture(event.pointerId);
    moved = 0;
  };
  chart.onpointermove = (event) => {
    const was = pointers.get(event.pointerId);
    if (was === undefined) return hover(event);
    const [dx, dy] = [event.offsetX - was[0], event.offsetY - was[1]];
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const factor = Math.abs(was[0] - other[0]) / Math.max(8, Math.abs(event.offsetX - other[0]));
      zoom(Math.min(2, Math.max(0.5, factor || 1)), toTime(other[0]));
    } else {
      moved += Math.abs(dx) + Math.abs(dy);
      view.top -= dy;
      shift(-dx / plotWidth());
    }
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    chart.classList.toggle("moving", moved > 3);
  };
  chart.onpointerup = chart.onpointercancel = (event) => {
    pointers.delete(event.pointerId);
    chart.classList.remove("moving");
    if (moved <= 3 && event.type === "pointerup") pick(Model.hit(m, event.offsetX < labelWidth || event.offsetY < AXIS ? -1 : toRow(event.offsetY), toTime(event.offsetX), (3 * (view.t1 - view.t0)) / plotWidth()));
  };
  chart.onpointerleave = () => {
    $("tip").hidden = true;
    state.hover = -1;
    ask();
  };
  chart.ondblclick = () => (state.picked >= 0 ? show(state.picked, true) : showAll());
  chart.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 300 : 1;
    const dx = event.deltaX * unit, dy = event.deltaY * unit;
    if (event.altKey) stretch(Math.exp(-(dy || dx) * 0.002), event.offsetY);
    else if (event.shiftKey) {
      view.top += dy || dx;
      clampView();
    } else if (Math.abs(dx) > Math.abs(dy)) shift(dx / plotWidth());
    else zoom(Math.exp(dy * (event.ctrlKey ? 0.01 : 0.0016)), toTime(event.offsetX));
    hover(event);
  }, { passive: false });
  $("usage").onpointermove = (event) => {
    const t = toTime(event.offsetX);
    if (event.offsetX < labelWidth || t < 0 || t > m.until) return ($("tip").hidden = true);
    tip(event, Model.say(t), m.resources.map((_, k) => [Model.nameOf(m, k), m.offered[k]
      ? `${Model.sayAmount(m, k, Model.useAt(m, k, t))} of ${Model.sayAmount(m, k, m.offered[k])} (${((100 * Model.useAt(m, k, t)) / m.offered[k]).toFixed(0)}%)` : "none"]));
  };
  $("usage").onpointerleave = () => ($("tip").hidden = true);
}

function listenToSplit() {
  const split = $("split"), below = $("below");
  const set = (height) => {
    below.style.height = `${Math.min(Math.max(height, 0), innerHeight - 320)}px`;
    clampView();
    drawRows();
  };
  split.onpointerdown = (event) => split.setPointerCapture(event.pointerId);
  split.onpointermove = (event) => {
    if (split.hasPointerCapture(event.pointerId)) set(innerHeight - event.clientY - 4);
  };
  split.onkeydown = (event) => {
    const by = { ArrowUp: 30, ArrowDown: -30 }[event.key];
    if (!by) return;
    set(below.clientHeight + by);
    event.stopPropagation();
    event.preventDefault();
  };
  return set;
}

const KEYS = {
  ArrowLeft: () => shift(-0.1), ArrowRight: () => shift(0.1),
  ArrowUp: () => ((view.top -= 60), clampView()), ArrowDown: () => ((view.top += 60), clampView()),
  PageUp: () => ((view.top -= plotHeight() * 0.9), clampView()), PageDown: () => ((view.top += plotHeight() * 0.9), clampView()),
  "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7), 0: showAll, "[": () => stretch(0.8), "]": () => stretch(1.25),
  "/": () => $("search").focus(), n: () => stepFound(1), p: () => stepFound(-1), d: () => $("theme").click(),
  c: () => $("critical").click(), "?": () => $("help").click(), Escape: () => pick(-1),
  Enter: () => state.picked >= 0 && show(state.picked, true),
};
function listenToKeys(setBelow) {
  let height = 230;
  KEYS.t = () => {
    const now = $("below").clientHeight;
    setBelow(now > 10 ? 0 : height);
    if (now > 10) height = now;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
    if (/INPUT|SELECT|TEXTAREA/.test(event.target.tagName) && event.target.type !== "checkbox") {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return;
    if (event.target === $("grid") && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      return stepRow(event.key === "ArrowDown" ? 1 : -1);
    }
    const act = KEYS[event.key];
    if (!act || (event.target === $("grid") && event.key.startsWith("Page"))) return;
    event.preventDefault();
    act();
  });
}

// ---------------------------------------------------------------- beginning

function tellFacts() {
  const counts = m.statusNames.map((_, s) => m.status.reduce((sum, other) => sum + (other === s), 0));
  const failed = counts[m.statusNames.indexOf("FAILED")], open = m.nTasks - failed - counts[m.statusNames.indexOf("COMPLETED")];
  const facts = [["makespan", Model.say(m.makespan)]];
  if (m.lowerBound) {
    facts.push([`lower bound, by ${m.boundBy}`, Model.say(m.lowerBound)]);
    facts.push(["above it", m.gapText]);
  }
  facts.push(["tasks", m.nTasks.toLocaleString("en")], ["workers", m.workers.length.toLocaleString("en")]);
  for (let k = 0; k < K; k++) {
    const area = m.useArea[k][m.useTimes.length - 1] || 0;
    if (m.offered[k] && m.makespan) facts.push([`${Model.nameOf(m, k)} in use`, `${((100 * area) / m.offered[k] / m.makespan).toFixed(1)}%`]);
  }
  if (failed) facts.push(["failed", failed.toLocaleString("en"), "bad"]);
  if (open) facts.push(["not ended", open.toLocaleString("en"), "bad"]);
  for (const [what, value, kind] of facts) $("facts").append(element("div", "", element("dt", "", what), element("dd", kind || "", value)));
}

function tellLegend() {
  state.off.clear();
  const classes = byStatus() ? [0, 1] : m.shownGroups;
  const chips = classes.map((g) => {
    const [name, color] = byStatus() ? STATUS_COLORS[g] : [m.groupNames[g], m.colors[g]];
    const swatch = element("i"), chip = button("", swatch, () => {
      if (!state.off.delete(g)) state.off.add(g);
      chip.classList.toggle("off", state.off.has(g));
      chip.setAttribute("aria-pressed", String(!state.off.has(g)));
      ask();
    });
    swatch.style.background = color;
    chip.append(name);
    chip.title = `${name}: show or hide`;
    chip.setAttribute("aria-pressed", "true");
    return chip;
  });
  if (!byStatus() && m.reason.some((code) => code)) {
    const swatch = element("i"), chip = element("span", "", swatch, "failed");
    swatch.style.background = m.failedColor;
    chips.push(chip);
  }
  $("legend").replaceChildren(...chips);
  ask();
}

function sizeLabels() {
  const pen = $("chart").getContext("2d", { alpha: false });
  pen.font = FONT;
  const some = m.workers.length > 2000 ? m.workers.filter((_, w) => w % Math.ceil(m.workers.length / 2000) === 0) : m.workers;
  labelWidth = Math.round(Math.min(190, Math.max(52, ...some.map((id) => pen.measureText(id.slice(0, 40)).width + 20))));
}

$("search").oninput = search;
$("search").onkeydown = (event) => {
  if (event.key === "Enter") stepFound(event.shiftKey ? -1 : 1);
};
$("filter").oninput = refill;
$("grid").onscroll = drawRows;
$("color").onchange = tellLegend;
$("critical").onchange = ask;
$("in").onclick = () => zoom(0.6);
$("out").onclick = () => zoom(1 / 0.6);
$("fit").onclick = showAll;
$("theme").onclick = () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  readColors();
  ask();
};
$("help").onclick = () => {
  const sum = paces.reduce((a, b) => a + b, 0);
  $("pace").textContent = `the last ${paces.length} frames took ${(sum / Math.max(1, paces.length)).toFixed(1)} ms each to draw, ${Math.max(0, ...paces).toFixed(1)} ms at most`;
  $("keys").showModal();
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColors();
  ask();
});
new ResizeObserver(() => {
  clampView();
  drawRows();
}).observe(document.body);

readColors();
sizeLabels();
tellFacts();
tellLegend();
buildHead();
refill();
tellDetails();
listenToChart();
listenToKeys(listenToSplit());
showAll();
