"use strict";
// What is told beside the chart: one task, the bounds, the table of attempts, and what a search found.

// ---------------------------------------------------------------- one task

function pick(i, move = false) {
  state.picked = i;
  state.task = i < 0 ? -1 : m.task[i];
  state.chain = i < 0 ? [] : Model.chain(m, i);
  if (i >= 0 && move) show(i);
  if (i >= 0) reveal(i);
  tellDetails();
  drawRows();
  ask();
}
function pickTask(t) {
  if (m.lastOf[t] >= 0) return pick(m.lastOf[t], true);
  state.picked = -1;
  state.task = t;
  state.chain = [];
  reveal(m.n + t);
  tellDetails();
  drawRows();
  ask();
}

// What is told of a row of the table (an attempt, or a task that never started): pairs of what and value.
function describe(r) {
  const t = Model.taskOf(m, r), ran = r < m.n, rows = [], reason = Model.reasonOf(m, r);
  if (ran) {
    rows.push(["worker", m.workers[m.worker[r]]]);
    rows.push(["start, end", `${Model.say(m.start[r])}, ${Model.say(m.end[r])}`]);
    rows.push(["takes", Model.say(m.end[r] - m.start[r])]);
  }
  rows.push(["needs", m.resources.map((_, k) => m.demand[t * K + k] && Model.sayAmount(m, k, m.demand[t * K + k])).filter(Boolean).join(", ") || "nothing"]);
  if (ran) rows.push(["waited for", waitedFor(r)]);
  rows.push(["status", Model.statusOf(m, r).toLowerCase() + (reason ? `: ${reason}` : "") + (m.attempt[r] > 1 ? `, attempt ${m.attempt[r]}` : "")]);
  if (m.cause[t] >= 0) rows.push(["because of", m.tasks[m.cause[t]]]);
  if (m.isCritical[t]) rows.push(["", "on the critical path"]);
  return rows;
}
function waitedFor(i) {
  const parts = [], waited = m.start[i] - m.ready[i];
  if (m.after[i] === m.task[i]) parts.push(`its attempt ${m.attempt[i] - 1}, until ${Model.say(m.ready[i])}`);
  else if (m.after[i] >= 0) parts.push(`${m.tasks[m.after[i]]}, until ${Model.say(m.ready[i])}`);
  if (waited > 1e-9 * m.until) {
    const by = m.freedBy[i] >= 0 ? `, which ${m.tasks[m.task[m.freedBy[i]]]} made by its end` : "";
    parts.push(`${parts.length ? "then " : ""}${Model.say(waited)} for room${by}`);
  }
  return parts.join("; ") || "nothing";
}

const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

function tellDetails() {
  const box = $("details");
  box.replaceChildren();
  if (state.task < 0) return tellBounds(box);
  const t = state.task, r = state.picked >= 0 ? state.picked : m.n + t, table = element("table");
  for (const [what, value] of describe(r)) table.append(element("tr", "", element("td", "", what), element("td", "", value)));
  const linked = (what, ptr, list) => {
    const cell = element("td");
    for (let e = ptr[t]; e < Math.min(ptr[t + 1], ptr[t] + 12); e++) {
      const other = list[e];
      cell.append(button("link", m.tasks[other], () => pickTask(other)), e + 1 < ptr[t + 1] ? ", " : "");
    }
    if (ptr[t + 1] - ptr[t] > 12) cell.append(`and ${ptr[t + 1] - ptr[t] - 12} more`);
    if (ptr[t + 1] > ptr[t]) table.append(element("tr", "", element("td", "", what), cell));
  };
  linked("depends on", m.depPtr, m.deps);
  linked("needed by", m.succPtr, m.succ);
  if (state.chain.length > 1) {
    table.append(element("tr", "", element("td", "", "dashed line"), element("td", "", `what it waited for, back to the start: ${count(state.chain.length - 1, "attempt")}`)));
  }
  box.append(element("h2", "", m.tasks[t]), table);
}
function tellBounds(box) {
  box.append(element("h2", "", "No schedule of this is shorter than"));
  const table = element("table");
  for (const [name, seconds] of m.bounds) {
    const meter = element("div", "meter", element("i"));
    meter.firstChild.style.width = `${(100 * seconds) / m.until}%`;
    table.append(element("tr", "", element("td", "", name), element("td", "", Model.say(seconds), meter)));
  }
  box.append(table);
  if (m.critical.length) {
    const more = m.critical.length > 8 ? ` … ${m.critical.length - 8} more` : "";
    box.append(element("h2", "", "Critical path"));
    const line = element("div");
    for (const t of Array.from(m.critical).slice(0, 8)) line.append(button("link", m.tasks[t], () => pickTask(t)), " ");
    line.append(more);
    box.append(line);
  }
}

// ---------------------------------------------------------------- the table

const HEADS = [
  // name, label, least width, what it takes of the rest, alignment
  ["id", "task", 190, 3, ""], ["attempt", "try", 52, 0, "number"], ["worker", "worker", 100, 1, ""],
  ["start", "start", 82, 0, "number"], ["end", "end", 82, 0, "number"], ["took", "takes", 82, 0, "number"],
  ["waited", "waited", 82, 0, "number"], ...m.resources.map((_, k) => [`need${k}`, Model.nameOf(m, k), 92, 0, "number"]),
  ["status", "status", 140, 1, ""], ["critical", "critical", 74, 0, ""],
];
const all = Model.tableRows(m);
let rows = all, sorted = ["start", false];

function buildHead() {
  const columns = HEADS.map(([, , least, share]) => (share ? `minmax(${least}px, ${share}fr)` : `${least}px`)).join(" ");
  const least = HEADS.reduce((sum, [, , width]) => sum + width, 0);
  for (const id of ["head", "rows"]) $(id).style.minWidth = `${least}px`;
  $("head").replaceChildren(...HEADS.map(([name, label, , , align]) => {
    const mark = sorted[0] === name ? (sorted[1] ? " ▾" : " ▴") : "";
    const head = button(align, label + mark, () => {
      sorted = [name, sorted[0] === name && !sorted[1]];
      buildHead();
      refill();
    });
    head.setAttribute("role", "columnheader");
    head.setAttribute("aria-sort", mark ? (sorted[1] ? "descending" : "ascending") : "none");
    return head;
  }));
  $("head").style.gridTemplateColumns = columns;
}
function refill() {
  rows = Model.sortRows(m, Model.filterRows(m, all, $("filter").value), sorted[0], sorted[1]);
  const some = rows.length === all.length ? "" : `${rows.length.toLocaleString("en")} of `;
  $("count").textContent = some + count(all.length, "row");
  $("rows").style.height = `${rows.length * LINE}px`;
  $("grid").setAttribute("aria-rowcount", rows.length + 1);
  $("grid").scrollTop = 0;
  drawRows();
}
// Only the rows that are seen exist.
function drawRows() {
  const grid = $("grid"), first = Math.max(0, Math.floor(grid.scrollTop / LINE) - 4);
  const last = Math.min(rows.length, first + Math.ceil(grid.clientHeight / LINE) + 8), made = [];
  for (let at = first; at < last; at++) made.push(makeRow(rows[at], at));
  $("rows").replaceChildren(...made);
}
function makeRow(r, at) {
  const t = Model.taskOf(m, r), ran = r < m.n, status = Model.statusOf(m, r), reason = Model.reasonOf(m, r);
  const time = (seconds) => (ran ? Model.say(seconds) : "");
  const cells = [
    m.tasks[t], ran ? String(m.attempt[r]) : "", ran ? m.workers[m.worker[r]] : "", time(m.start[r]), time(m.end[r]),
    time(m.end[r] - m.start[r]), time(Math.max(0, m.start[r] - m.ready[r])),
    ...m.resources.map((_, k) => Model.sayAmount(m, k, m.demand[t * K + k])),
    status.toLowerCase() + (reason ? `: ${reason}` : ""), m.isCritical[t] ? "yes" : "",
  ];
  const made = element("div", "row" + (r === state.picked || (!ran && t === state.task) ? " picked" : ""));
  made.setAttribute("role", "row");
  made.setAttribute("aria-rowindex", at + 2);
  made.style.top = `${at * LINE}px`;
  made.style.gridTemplateColumns = $("head").style.gridTemplateColumns;
  cells.forEach((text, c) => {
    const cell = element("span", `${HEADS[c][4]}${HEADS[c][0] === "status" && status === "FAILED" ? " bad" : ""}`, text);
    cell.setAttribute("role", "cell");
    cell.title = text;
    made.append(cell);
  });
  made.onclick = () => (ran ? pick(r, true) : pickTask(t));
  return made;
}
// Scrolls the table to a row, where it has it.
function reveal(r) {
  const grid = $("grid"), y = rows.indexOf(r) * LINE;
  if (y < 0) return;
  if (y < grid.scrollTop) grid.scrollTop = y;
  if (y + 2 * LINE > grid.scrollTop + grid.clientHeight) grid.scrollTop = y + 2 * LINE - grid.clientHeight;
}
function stepRow(by) {
  const at = rows.indexOf(state.picked >= 0 ? state.picked : state.task >= 0 ? m.n + state.task : -1);
  const next = Math.min(Math.max(at + by, 0), rows.length - 1);
  if (next < 0) return;
  if (rows[next] < m.n) pick(rows[next], true);
  else pickTask(rows[next] - m.n);
}

// ---------------------------------------------------------------- search

function search() {
  state.found = Model.find(m, $("search").value);
  state.at = -1;
  const never = $("search").value && !state.found.length ? m.lowered.indexOf($("search").value.toLowerCase()) : -1;
  $("found").textContent = $("search").value ? (never >= 0 ? "never started" : `${state.found.length.toLocaleString("en")} found`) : "";
  if (never >= 0) pickTask(never);
  ask();
}
function stepFound(by) {
  if (state.found.length) {
    state.at = (state.at + by + state.found.length + (state.at < 0 && by < 0 ? 1 : 0)) % state.found.length;
    $("found").textContent = `${state.at + 1} of ${state.found.length.toLocaleString("en")}`;
    return pick(state.found[state.at], true);
  }
  if (state.picked < 0) return m.n ? pick(0, true) : undefined;
  const w = m.worker[state.picked];
  for (let i = state.picked + by; i >= 0 && i < m.n; i += by) if (m.worker[i] === w) return pick(i, true);
}
