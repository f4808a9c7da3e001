"use strict";
// The Gantt chart and utilisation, drawn on canvas: what is seen of the time from view.t0 to view.t1, as often as something
// changes and at most once a frame. Text of the user's is put down as text, never as HTML.

const $ = (id) => document.getElementById(id);
const m = Model.open(JSON.parse($("data").textContent));
const K = m.resources.length;
const AXIS = 26; // pixels of the time axis
const LEAST_ROW = 1, MOST_ROW = 40, USUAL_ROW = 22;
const LINE = 24; // of the table, pixels
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const RESOURCE_COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#b8a60a", "#9a9a9a"];
const STATUS_COLORS = [["completed", "#0072b2"], ["failed", m.failedColor]];

const view = { t0: 0, t1: m.until, top: 0, rowHeight: USUAL_ROW };
const state = { picked: -1, task: -1, hover: -1, found: [], at: -1, off: new Set(), chain: [] };
let colors = {}, labelWidth = 60, paces = [];

// ---------------------------------------------------------------- elements

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
function button(className, text, act) {
  const made = element("button", className, text);
  made.type = "button";
  made.onclick = act;
  return made;
}
function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d", { alpha: false });
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = colors.page;
  pen.fillRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  return [pen, width, height];
}

// ---------------------------------------------------------------- colours

const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["page", "panel", "line", "band", "ink", "soft", "mark", "bound", "accent", "hit"]) {
    colors[name] = style.getPropertyValue(`--${name}`).trim();
  }
}
const byStatus = () => $("color").value === "status";
const classOf = (i) => (byStatus() ? (m.reason[i] ? 1 : 0) : m.group[m.task[i]]);
const colorOf = (i) => (m.reason[i] ? m.failedColor : byStatus() ? STATUS_COLORS[0][1] : m.colors[classOf(i)]);
function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 125 ? "#000000" : "#ffffff";
}

// ---------------------------------------------------------------- the chart

let asked = false;
function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const began = performance.now();
    drawChart();
    drawUse();
    paces.push(performance.now() - began);
    if (paces.length > 240) paces.shift();
  });
}

const plotWidth = () => Math.max(10, $("chart").clientWidth - labelWidth);
const plotHeight = () => $("chart").clientHeight - AXIS;
const toX = (t) => labelWidth + ((t - view.t0) / (view.t1 - view.t0)) * plotWidth();
const toTime = (x) => view.t0 + ((x - labelWidth) / plotWidth()) * (view.t1 - view.t0);
const toY = (row) => AXIS + row * view.rowHeight - view.top;
const toRow = (y) => Math.floor((y - AXIS + view.top) / view.rowHeight);

function drawChart() {
  const [pen, width, height] = prepare($("chart"));
  const firstRow = Math.max(0, toRow(AXIS)), lastRow = Math.min(m.nRows - 1, toRow(height));
  const texts = paint(pen, width - labelWidth, height - AXIS, firstRow, lastRow);
  pen.save();
  pen.beginPath();
  pen.rect(labelWidth, AXIS, width - labelWidth, height - AXIS);
  pen.clip();
  drawTexts(pen, texts);
  for (const i of shownFailures(firstRow, lastRow)) hatch(pen, i); // so that failures are told by more than colour
  if ($("critical").checked) drawPath(pen, criticalAttempts(), colors.mark, [], firstRow, lastRow);
  if (state.chain.length > 1) drawPath(pen, state.chain, colors.accent, [4, 3], firstRow, lastRow);
  drawPicked(pen);
  drawBound(pen, height);
  pen.restore();
  drawLabels(pen, height, firstRow, lastRow);
  drawAxis(pen, width, height);
  drawBar(pen, width, height);
}

function ticks() {
  const step = Model.tickStep(view.t0, view.t1, plotWidth() / 90), found = [];
  for (let k = Math.ceil(view.t0 / step - 1e-9); k * step <= view.t1; k++) found.push(k * step);
  return [found, step];
}

// The field of the chart goes into memory pixel by pixel, and onto the canvas at once: a hundred thousand small
// rectangles are too many for a canvas to be told of one by one in a frame, and nothing much to fill.
let field = null;
function prepareField(wide, high) {
  if (field === null || field.wide !== wide || field.high !== high) {
    const image = new ImageData(wide, high);
    field = { image, wide, high, pixels: new Uint32Array(image.data.buffer) };
  }
  return field;
}
function pixelOf(color) { // as it lies in memory: red first
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return new Uint32Array(new Uint8Array([r, g, b, 255]).buffer)[0];
}

// Paints bands, grid and attempts; answers where there is room for a name, as x, y, width, attempt in turns.
function paint(pen, width, height, firstRow, lastRow) {
  const ratio = window.devicePixelRatio || 1;
  const { image, wide, high, pixels } = prepareField(Math.round(width * ratio), Math.round(height * ratio));
  const edge = (row) => Math.min(high, Math.max(0, Math.round((row * view.rowHeight - view.top) * ratio)));
  pixels.fill(pixelOf(colors.page));
  for (let w = lastRow < firstRow ? Infinity : Model.workerOf(m, firstRow); w < m.workers.length && m.firstRow[w] <= lastRow; w++) {
    if (w % 2 === 0) pixels.fill(pixelOf(colors.band), edge(m.firstRow[w]) * wide, edge(m.firstRow[w + 1]) * wide);
  }
  const line = pixelOf(colors.line);
  for (const t of ticks()[0]) {
    const x = Math.round((toX(t) - labelWidth) * ratio);
    for (let at = x; x >= 0 && x < wide && at < pixels.length; at += wide) pixels.fill(line, at, at + Math.round(ratio));
  }
  const texts = paintAttempts(ratio, edge, firstRow, lastRow);
  pen.putImageData(image, Math.round(labelWidth * ratio), Math.round(AXIS * ratio));
  return texts;
}

function paintAttempts(ratio, edge, firstRow, lastRow) {
  const { wide, pixels } = field, texts = [], inks = new Map();
  const keep = state.off.size ? (i) => !state.off.has(classOf(i)) : null;
  const between = view.rowHeight >= 3 ? Math.round(ratio) : 0; // pixels that stay free between rows
  let top = 0, bottom = 0;
  const put = (x, width, i) => {
    const color = colorOf(i), left = Math.max(0, Math.round(x * ratio));
    const right = Math.min(wide, Math.max(left + 1, Math.round((x + width) * ratio) - (width > 4 ? Math.round(ratio) : 0)));
    let ink = inks.get(color);
    if (ink === undefined) inks.set(color, (ink = pixelOf(color)));
    for (let from = top * wide, end = bottom * wide; from < end; from += wide) {
      if (right - left > 24) pixels.fill(ink, from + left, from + right);
      else for (let at = from + left; at < from + right; at++) pixels[at] = ink;
    }
    if (width > 34 && view.rowHeight >= 13) texts.push(x + labelWidth, AXIS + (top + bottom) / 2 / ratio, width, i);
  };
  for (let row = firstRow; row <= lastRow; row++) {
    top = edge(row);
    bottom = Math.max(edge(row + 1) - between, Math.min(top + 1, field.high));
    Model.spans(m, row, view.t0, view.t1, wide / ratio, keep, put);
  }
  return texts;
}

function drawTexts(pen, texts) {
  for (let at = 0; at < texts.length; at += 4) {
    const [x, y, wide, i] = texts.slice(at, at + 4), left = Math.max(x, labelWidth);
    const label = m.tasks[m.task[i]] + (m.attempt[i] > 1 || m.reason[i] ? ` #${m.attempt[i]}` : "");
    const room = x + wide - left - 8, most = Math.floor(room / 5.8);
    if (most < 3) continue;
    pen.fillStyle = inkOn(colorOf(i));
    pen.fillText(label.length > most ? label.slice(0, most - 1) + "…" : label, left + 4, y + 0.5, room);
  }
}

let failures = null;
function shownFailures(firstRow, lastRow) {
  if (failures === null) failures = Array.from(m.reason.keys()).filter((i) => m.reason[i] !== 0);
  if (view.rowHeight < 6 || failures.length > 5000) return [];
  return failures.filter((i) => m.row[i] >= firstRow && m.row[i] <= lastRow && m.end[i] >= view.t0 && m.start[i] <= view.t1 &&
    !state.off.has(classOf(i)));
}
function hatch(pen, i) {
  const inner = view.rowHeight - 1;
  const x = Math.max(toX(m.start[i]), labelWidth - 20), end = Math.min(toX(m.end[i]), $("chart").clientWidth + 20), y = toY(m.row[i]);
  if (end - x < 6) return;
  pen.save();
  pen.beginPath();
  pen.rect(x, y, end - x - 1, inner);
  pen.clip();
  pen.strokeStyle = "rgba(0, 0, 0, 0.35)";
  pen.beginPath();
  for (let at = x - inner; at < end; at += 7) {
    pen.moveTo(at, y + inner);
    pen.lineTo(at + inner, y);
  }
  pen.stroke();
  pen.restore();
}

// Every attempt of the tasks on the critical path, the last one first.
let critical = null;
function criticalAttempts() {
  if (critical !== null) return critical;
  critical = [];
  for (const t of Array.from(m.critical).reverse()) for (let i = m.lastOf[t]; i >= 0; i = m.prevOf[i]) critical.push(i);
  return critical;
}

// A frame around each attempt of a path, last to first, and a line from each to the one before.
function drawPath(pen, path, color, dashes, firstRow, lastRow) {
  const high = view.rowHeight;
  pen.strokeStyle = color;
  pen.fillStyle = color;
  pen.lineWidth = high >= 8 ? 2 : 1;
  for (const i of path) {
    if (m.row[i] < firstRow || m.row[i] > lastRow || m.end[i] < view.t0 || m.start[i] > view.t1) continue;
    const x = toX(m.start[i]), wide = toX(m.end[i]) - x, y = toY(m.row[i]);
    if (wide >= 5 && high >= 6) pen.strokeRect(Math.max(x, -9), y + 1, Math.min(wide, 1e5) - 1, high - 2);
    else pen.fillRect(x - 0.5, y, Math.max(2, Math.min(wide, 1e5)), Math.max(2, high));
  }
  pen.lineWidth = 1.3;
  pen.setLineDash(dashes);
  pen.beginPath();
  for (let at = 0; at + 1 < path.length; at++) {
    const later = path[at], earlier = path[at + 1];
    if (m.start[later] < view.t0 || m.end[earlier] > view.t1) continue;
    pen.moveTo(toX(m.start[later]), toY(m.row[later]) + high / 2);
    pen.lineTo(toX(m.end[earlier]), toY(m.row[earlier]) + high / 2);
  }
  pen.stroke();
  pen.setLineDash([]);
  pen.lineWidth = 1;
}

function drawPicked(pen) {
  const high = view.rowHeight;
  const frame = (i, color, line) => {
    const x = toX(m.start[i]), wide = Math.max(3, toX(m.end[i]) - x);
    pen.strokeStyle = color;
    pen.lineWidth = line;
    pen.strokeRect(Math.max(x, -9) - 1, toY(m.row[i]) - 1, Math.min(wide, 1e5) + 1, Math.max(3, high + 1));
    pen.lineWidth = 1;
  };
  for (const i of state.found.length <= 2000 ? state.found : []) {
    const y = toY(m.row[i]);
    if (y > -high && y < $("chart").clientHeight && m.end[i] >= view.t0 && m.start[i] <= view.t1) frame(i, colors.hit, 2);
  }
  if (state.hover >= 0) frame(state.hover, colors.ink, 1.5);
  if (state.picked >= 0) frame(state.picked, colors.accent, 3);
}

function drawBound(pen, height) {
  const mark = (t, color, dashes) => {
    const x = Math.round(toX(t)) + 0.5;
    pen.strokeStyle = color;
    pen.setLineDash(dashes);
    pen.beginPath();
    pen.moveTo(x, AXIS);
    pen.lineTo(x, height);
    pen.stroke();
    pen.setLineDash([]);
  };
  if (m.lowerBound) mark(m.lowerBound, colors.bound, [6, 4]);
  mark(m.makespan, colors.soft, []);
}

function drawLabels(pen, height, firstRow, lastRow) {
  pen.fillStyle = colors.panel;
  pen.fillRect(0, AXIS, labelWidth, height);
  if (lastRow < firstRow) return;
  let next = -Infinity;
  for (let w = Model.workerOf(m, firstRow); w <= Model.workerOf(m, lastRow); w++) {
    const top = toY(m.firstRow[w]), end = toY(m.firstRow[w + 1]);
    if (end - top >= 3) {
      pen.fillStyle = colors.line;
      pen.fillRect(0, end - 1, labelWidth, 1);
    }
    const y = Math.max(AXIS + 8, Math.min((top + end) / 2, height - 8));
    if (y < next) continue;
    next = y + 13;
    pen.fillStyle = colors.ink;
    pen.fillText(short(pen, m.workers[w], labelWidth - 12), 8, y);
  }
}

function short(pen, text, room) {
  if (text.length * 4 < room && pen.measureText(text).width <= room) return text;
  let end = Math.min(text.length, Math.ceil(room / 3));
  while (end > 1 && pen.measureText(text.slice(0, end) + "…").width > room) end--;
  return end < text.length ? text.slice(0, end) + "…" : text;
}

function drawAxis(pen, width) {
  pen.fillStyle = colors.panel;
  pen.fillRect(0, 0, width, AXIS);
  pen.fillStyle = colors.line;
  pen.fillRect(0, AXIS - 1, width, 1);
  const [marks, step] = ticks(), marked = [];
  pen.textAlign = "center";
  const flag = (t, text, color) => {
    const x = toX(t);
    if (x < labelWidth - 1 || x > width + 1) return;
    const half = pen.measureText(text).width / 2 + 5;
    let centre = Math.min(Math.max(x, labelWidth + half), width - half);
    if (color === colors.bound && marked.length) centre = Math.min(centre, marked[0][0] - marked[0][1] - half); // beside the makespan
    if (marked.some(([other, room]) => Math.abs(other - centre) < room + half)) return;
    marked.push([centre, half]);
    pen.fillStyle = color;
    pen.fillText(text, centre, AXIS / 2);
  };
  flag(m.makespan, `makespan ${Model.say(m.makespan)}`, colors.ink);
  if (m.lowerBound) flag(m.lowerBound, `lower bound ${Model.say(m.lowerBound)}`, colors.bound);
  for (const t of marks) flag(t, Model.say(t, step), colors.soft);
  pen.textAlign = "left";
}

function drawBar(pen, width, height) {
  const all = m.nRows * view.rowHeight, seen = plotHeight();
  if (all <= seen + 1) return;
  const size = Math.max(24, (seen * seen) / all), y = AXIS + (view.top / (all - seen)) * (seen - size);
  pen.fillStyle = colors.soft;
  pen.globalAlpha = 0.5;
  pen.fillRect(width - 7, y, 5, size);
  pen.globalAlpha = 1;
}

// ---------------------------------------------------------------- utilisation

function drawUse() {
  const [pen, width, height] = prepare($("usage"));
  const room = Math.max(10, Math.floor(width - labelWidth)), low = height - 8, high = low - 14;
  pen.fillStyle = colors.panel;
  pen.fillRect(0, 0, labelWidth, height);
  pen.fillStyle = colors.line;
  for (const t of ticks()[0]) pen.fillRect(Math.round(toX(t)), 0, 1, low);
  for (const share of [0, 0.5, 1]) pen.fillRect(labelWidth, Math.round(low - share * high), room, 1);
  pen.fillStyle = colors.soft;
  pen.textAlign = "right";
  for (const [share, text] of [[1, "100%"], [0.5, "50%"], [0, "0"]]) pen.fillText(text, labelWidth - 6, Math.min(low - 4, low - share * high));
  pen.textAlign = "left";
  let left = labelWidth + 8;
  for (let k = K - 1; k >= 0; k--) {
    if (!m.offered[k]) continue;
    const shares = Model.useShares(m, k, view.t0, view.t1, room), y = (x) => low - Math.min(1, shares[x]) * high;
    pen.beginPath();
    pen.moveTo(labelWidth, y(0));
    for (let x = 0; x < room; x++) {
      pen.lineTo(labelWidth + x, y(x));
      pen.lineTo(labelWidth + x + 1, y(x));
    }
    pen.strokeStyle = RESOURCE_COLORS[k % RESOURCE_COLORS.length];
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.lineTo(labelWidth + room, low);
    pen.lineTo(labelWidth, low);
    pen.globalAlpha = 0.12;
    pen.fillStyle = pen.strokeStyle;
    pen.fill();
    pen.globalAlpha = 1;
    pen.lineWidth = 1;
  }
  for (let k = 0; k < K; k++) {
    if (!m.offered[k]) continue;
    const text = Model.nameOf(m, k), wide = pen.measureText(text).width;
    pen.fillStyle = colors.page;
    pen.globalAlpha = 0.8;
    pen.fillRect(left - 4, 6, wide + 24, 15);
    pen.globalAlpha = 1;
    pen.fillStyle = RESOURCE_COLORS[k % RESOURCE_COLORS.length];
    pen.fillRect(left, 9, 10, 10);
    pen.fillStyle = colors.ink;
    pen.fillText(text, left + 14, 14);
    left += wide + 30;
  }
}
