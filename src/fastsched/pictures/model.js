"use strict";
// What the page computes: numbers in, numbers out. It knows no document and no canvas, so that it can be run without a
// browser. `data` is what page.py wrote; times are seconds, i is an attempt, t a task, w a worker, row a lane of one.

const Model = (() => {
  const TYPES = { u1: Uint8Array, u2: Uint16Array, i4: Int32Array, f8: Float64Array };
  const NARROW = 2; // pixels; what is narrower is drawn together with its neighbours in the same pixel

  function column({ type, data }) {
    const text = atob(data), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new TYPES[type](bytes.buffer);
  }

  // Everything of `data`, its columns as typed arrays, and what is looked up often.
  function open(data) {
    const m = {};
    for (const [name, value] of Object.entries(data)) {
      m[name] = value !== null && typeof value === "object" && "type" in value ? column(value) : value;
    }
    m.n = m.task.length;
    m.nTasks = m.tasks.length;
    m.nRows = m.firstRow[m.workers.length];
    m.until = Math.max(m.makespan, m.lowerBound) || 1;
    m.isCritical = new Uint8Array(m.nTasks);
    for (const t of m.critical) m.isCritical[t] = 1;
    m.lowered = m.tasks.map((id) => id.toLowerCase());
    m.loweredWorkers = m.workers.map((id) => id.toLowerCase());
    indexRows(m);
    indexTasks(m);
    measureUse(m);
    return m;
  }

  // items[ptr[row] .. ptr[row + 1]]: the attempts of a row in the order of their starts, which is that of their ends.
  function indexRows(m) {
    m.ptr = new Int32Array(m.nRows + 1);
    for (let i = 0; i < m.n; i++) m.ptr[m.row[i] + 1]++;
    for (let r = 0; r < m.nRows; r++) m.ptr[r + 1] += m.ptr[r];
    const next = m.ptr.slice();
    m.items = new Int32Array(m.n);
    for (let i = 0; i < m.n; i++) m.items[next[m.row[i]]++] = i;
  }

  // The last attempt of each task, and the one before each attempt, or -1; and what depends on a task, as what it depends
  // on is given. Attempts come in the order of their starts, so those of a task in their own.
  function indexTasks(m) {
    m.lastOf = new Int32Array(m.nTasks).fill(-1);
    m.prevOf = new Int32Array(m.n);
    for (let i = 0; i < m.n; i++) {
      m.prevOf[i] = m.lastOf[m.task[i]];
      m.lastOf[m.task[i]] = i;
    }
    m.succPtr = new Int32Array(m.nTasks + 1);
    for (const t of m.deps) m.succPtr[t + 1]++;
    for (let t = 0; t < m.nTasks; t++) m.succPtr[t + 1] += m.succPtr[t];
    const next = m.succPtr.slice();
    m.succ = new Int32Array(m.deps.length);
    for (let t = 0; t < m.nTasks; t++) for (let e = m.depPtr[t]; e < m.depPtr[t + 1]; e++) m.succ[next[m.deps[e]]++] = t;
  }

  // useTimes (rising), useHeld[k] (in use from that time on), useArea[k] (amount times seconds until then), offered[k].
  function measureUse(m) {
    const K = m.resources.length, n = m.n;
    const ends = new Int32Array(n).map((_, i) => i).sort((a, b) => m.end[a] - m.end[b]);
    m.offered = new Float64Array(K);
    for (let w = 0; w < m.workers.length; w++) for (let k = 0; k < K; k++) m.offered[k] += m.capacity[w * K + k];
    const times = new Float64Array(2 * n + 1);
    m.useHeld = Array.from({ length: K }, () => new Float64Array(2 * n + 1));
    m.useArea = Array.from({ length: K }, () => new Float64Array(2 * n + 1));
    const held = new Float64Array(K);
    let count = 0;
    for (let s = 0, e = 0; s < n || e < n; count++) {
      const now = Math.min(s < n ? m.start[s] : Infinity, m.end[ends[e]]);
      for (; s < n && m.start[s] === now; s++) for (let k = 0; k < K; k++) held[k] += m.demand[m.task[s] * K + k];
      for (; e < n && m.end[ends[e]] === now; e++) for (let k = 0; k < K; k++) held[k] -= m.demand[m.task[ends[e]] * K + k];
      times[count] = now;
      for (let k = 0; k < K; k++) {
        m.useHeld[k][count] = held[k];
        m.useArea[k][count] = count ? m.useArea[k][count - 1] + m.useHeld[k][count - 1] * (now - times[count - 1]) : 0;
      }
    }
    m.useTimes = times.subarray(0, count);
  }

  // The share of resource k that is in use on average in each of `width` equal parts of t0 to t1.
  function useShares(m, k, t0, t1, width) {
    const shares = new Float64Array(width), step = (t1 - t0) / width, offered = m.offered[k] || 1;
    const times = m.useTimes, area = m.useArea[k], held = m.useHeld[k];
    let at = after(times, t0) - 1;
    const upTo = (t) => {
      while (at + 1 < times.length && times[at + 1] <= t) at++;
      return at < 0 ? 0 : area[at] + held[at] * (t - times[at]);
    };
    let before = upTo(t0);
    for (let x = 0; x < width; x++) {
      const area = upTo(t0 + (x + 1) * step);
      shares[x] = Math.max(0, (area - before) / step / offered);
      before = area;
    }
    return shares;
  }

  // The amount of resource k in use at t.
  function useAt(m, k, t) {
    const at = after(m.useTimes, t) - 1;
    return at < 0 ? 0 : m.useHeld[k][at];
  }

  // The first place in a rising array whose value is above x.
  function after(values, x) {
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] <= x) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The place in `items` of the first attempt of a row that ends at t or later.
  function firstEndingFrom(m, row, t) {
    let low = m.ptr[row], high = m.ptr[row + 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (m.end[m.items[middle]] < t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Calls put(x, width, i) for what a row shows of t0 to t1 on `width` pixels: an attempt that is wide enough by
  // itself; those that are not once for each pixel, by the longest of them. `keep(i)`: whether it is drawn at all.
  function spans(m, row, t0, t1, width, keep, put) {
    const scale = width / (t1 - t0), last = m.ptr[row + 1];
    let left = 0, right = -1, longest = -1;
    const flush = () => {
      if (longest >= 0) put(left, Math.max(1, right - left), longest);
      longest = -1;
    };
    for (let at = firstEndingFrom(m, row, t0); at < last; at++) {
      const i = m.items[at];
      if (m.start[i] > t1) break;
      if (keep !== null && !keep(i)) continue;
      const x = (m.start[i] - t0) * scale, end = (m.end[i] - t0) * scale;
      if (end - x >= NARROW) {
        flush();
        const from = Math.max(x, -2);
        put(from, Math.min(end, width + 2) - from, i);
        continue;
      }
      if (longest >= 0 && Math.floor(x) !== Math.floor(left)) flush();
      if (longest < 0) [left, longest] = [x, i];
      else if (m.end[i] - m.start[i] > m.end[longest] - m.start[longest]) longest = i;
      right = Math.max(right, end);
      if (left === x) right = end;
    }
    flush();
  }

  // The attempt of a row at t, or the nearest within `slack` seconds; -1: there is none.
  function hit(m, row, t, slack) {
    if (row < 0 || row >= m.nRows) return -1;
    let best = -1, nearest = slack;
    for (let at = firstEndingFrom(m, row, t - slack); at < m.ptr[row + 1]; at++) {
      const i = m.items[at];
      if (m.start[i] > t + slack) break;
      const away = Math.max(m.start[i] - t, t - m.end[i], 0);
      if (away < nearest || (best < 0 && away <= nearest)) [best, nearest] = [i, away];
      if (away === 0 && m.end[i] > t) break;
    }
    return best;
  }

  // The worker of a row.
  const workerOf = (m, row) => after(m.firstRow, row) - 1;

  // What kept attempt i: each the one that the one before waited for last, back to the start.
  function chain(m, i) {
    const found = [i];
    for (;;) {
      const at = found[found.length - 1];
      let next = m.freedBy[at];
      if (next < 0 && m.after[at] >= 0) next = m.after[at] === m.task[at] ? m.prevOf[at] : m.lastOf[m.after[at]];
      // Attempts of no duration may stand at one instant in any order: a chain never goes back to where it was.
      if (next < 0 || next === at || m.end[next] > m.start[at] || found.length > m.n) return found;
      found.push(next);
    }
  }

  // Rows of the table: attempts by their number, and behind them tasks that never started, as n + t.
  function tableRows(m) {
    const rows = Array.from({ length: m.n }, (_, i) => i);
    for (let t = 0; t < m.nTasks; t++) if (m.lastOf[t] < 0) rows.push(m.n + t);
    return rows;
  }

  const taskOf = (m, r) => (r < m.n ? m.task[r] : r - m.n);
  const statusOf = (m, r) => (r >= m.n ? m.statusNames[m.status[r - m.n]] : m.reason[r] ? "FAILED" : "COMPLETED");
  const reasonOf = (m, r) => m.reasonNames[r < m.n ? m.reason[r] : m.why[r - m.n]];

  // A number or a text to sort a row by; null comes last.
  function keyOf(m, name, r) {
    const K = m.resources.length, ran = r < m.n;
    if (name === "id") return m.lowered[taskOf(m, r)];
    if (name === "worker") return ran ? m.loweredWorkers[m.worker[r]] : null;
    if (name === "status") return statusOf(m, r) + reasonOf(m, r);
    if (name === "critical") return -m.isCritical[taskOf(m, r)];
    if (name.startsWith("need")) return m.demand[taskOf(m, r) * K + Number(name.slice(4))];
    if (!ran) return null;
    if (name === "attempt") return m.attempt[r];
    if (name === "start") return m.start[r];
    if (name === "end") return m.end[r];
    if (name === "took") return m.end[r] - m.start[r];
    return Math.max(0, m.start[r] - m.ready[r]); // waited
  }

  // The rows in order; equal ones keep theirs.
  function sortRows(m, rows, name, falling) {
    const keys = new Map(rows.map((r) => [r, keyOf(m, name, r)]));
    const sign = falling ? -1 : 1;
    return rows.slice().sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === y) return 0;
      if (x === null || y === null) return x === null ? 1 : -1;
      return x < y ? -sign : sign;
    });
  }

  // The rows of which each word is somewhere in the id, the worker, the status or its reason.
  function filterRows(m, rows, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return rows;
    return rows.filter((r) => {
      const id = m.lowered[taskOf(m, r)], worker = r < m.n ? m.loweredWorkers[m.worker[r]] : "";
      return words.every((word) =>
        id.includes(word) || worker.includes(word) ||
        (statusOf(m, r) + " " + reasonOf(m, r)).toLowerCase().includes(word) ||
        (word === "critical" && m.isCritical[taskOf(m, r)] === 1));
    });
  }

  // The attempts of tasks whose id has this text in it, in the order of their starts; the exact id first.
  function find(m, text) {
    const wanted = text.toLowerCase();
    if (!wanted) return [];
    const found = [];
    for (let i = 0; i < m.n; i++) if (m.lowered[m.task[i]].includes(wanted)) found.push(i);
    const exact = found.findIndex((i) => m.tasks[m.task[i]] === text);
    if (exact > 0) found.unshift(...found.splice(exact, 1));
    return found;
  }

  // Where ticks stand on an axis from t0 to t1 with room for so many: round numbers of the unit that fits.
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  function tickStep(t0, t1, most) {
    const least = (t1 - t0) / Math.max(1, most);
    if (least > STEPS[STEPS.length - 1]) return 86400 * roundUp(least / 86400);
    return least >= 1 ? STEPS.find((step) => step >= least) : roundUp(least);
  }
  function roundUp(x) {
    const unit = 10 ** Math.floor(Math.log10(x));
    return unit * [1, 2, 5, 10].find((factor) => factor * unit >= x * (1 - 1e-9));
  }

  // A time as a person says it; `step`: to that precision.
  function say(seconds, step = 0) {
    const digits = step ? Math.max(0, Math.min(9, -Math.floor(Math.log10(step) + 1e-9))) : 0;
    if (step && step < 1) {
      const whole = Math.floor(seconds / 60), rest = seconds - 60 * whole;
      return whole ? `${say(60 * whole, 60)} ${rest.toFixed(digits)}s` : `${Number(seconds.toFixed(digits))}s`;
    }
    if (!step && seconds < 60) {
      if (seconds > 0 && seconds < 1) return `${Number((seconds * 1000).toPrecision(3))} ms`;
      return `${Number(seconds.toFixed(2))} s`;
    }
    const whole = Math.round(seconds), parts = [];
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
      const count = Math.floor(whole / size) % (size === 86400 ? Infinity : size === 3600 ? 24 : 60);
      if (count) parts.push(`${count}${unit}`);
    }
    return (step ? parts : parts.slice(0, 2)).join(" ") || "0";
  }

  // So much of resource k, as a person says it.
  function sayAmount(m, k, amount) {
    const name = m.resources[k], number = (x) => x.toLocaleString("en", { maximumFractionDigits: 3 });
    if (name === "cpu_millicores") return `${number(amount / 1000)} core${amount === 1000 ? "" : "s"}`;
    if (name === "memory_mb") return amount < 10240 ? `${number(amount)} MB` : `${number(Math.round(amount / 102.4) / 10)} GB`;
    return `${number(amount)} ${name}`;
  }
  const nameOf = (m, k) => ({ cpu_millicores: "cores", memory_mb: "memory" })[m.resources[k]] || m.resources[k];

  return {
    open, spans, hit, workerOf, chain, tableRows, sortRows, filterRows, find, taskOf, statusOf, reasonOf,
    useShares, useAt, tickStep, say, sayAmount, nameOf,
  };
})();
