// The browser half of the player: replays a scene (see scene.py) on a canvas.
// Plain JavaScript, one module, nothing to build and nothing to fetch.

const STATES = ["SENT", "BLOCKED", "READY", "RESTING", "IN_FLIGHT", "RECEIVED", "GHOST", "LATE", "ACKED",
  "DONE", "DEAD", "DROPPED", "LOST", "REFUSED", "GONE"];
const S = Object.fromEntries(STATES.map((name, i) => [name, i]));
const MARK = { CRASHED: 0, RESTARTED: 1, EFFECT: 2, FAILED: 3, DUPLICATE: 4, STALE: 5, CLOSED: 6 };

const BLUE = "#0072B2", ORANGE = "#E69F00", GREEN = "#009E73", RED = "#D55E00", PURPLE = "#CC79A7", GREY = "#6b7280";
// How a token looks: fill, or only an outline (dashed or not), and a sign, so that colour is never alone.
const LOOKS = {
  [S.SENT]: { word: "sent", line: BLUE },
  [S.BLOCKED]: { word: "sender waits", fill: GREY, ink: "#fff", sign: "pause" },
  [S.READY]: { word: "ready", fill: BLUE, ink: "#fff" },
  [S.RESTING]: { word: "rests before the next attempt", line: BLUE, dash: true, sign: "pause" },
  [S.IN_FLIGHT]: { word: "in flight, with its lease", fill: ORANGE, ink: "#000", sign: "ring" },
  [S.RECEIVED]: { word: "worked on, without a lease", fill: ORANGE, ink: "#000" },
  [S.GHOST]: { word: "still worked on, lease over", line: PURPLE, dash: true },
  [S.LATE]: { word: "worked on after the ack", line: GREEN, dash: true },
  [S.ACKED]: { word: "acknowledged", fill: GREEN, ink: "#000", sign: "check" },
  [S.DONE]: { word: "received", fill: GREEN, ink: "#000", sign: "check" },
  [S.DEAD]: { word: "dead letter", fill: RED, ink: "#000", sign: "cross" },
  [S.DROPPED]: { word: "dropped", line: RED, sign: "cross" },
  [S.LOST]: { word: "lost", line: RED, sign: "cross" },
  [S.REFUSED]: { word: "refused", line: RED, sign: "bar" },
};
const COUNTERS = [
  ["waiting", BLUE, [S.BLOCKED]], ["ready", BLUE, [S.READY, S.RESTING]], ["in flight", ORANGE, [S.IN_FLIGHT]],
  ["received", GREEN, [S.RECEIVED, S.DONE]], ["acked", GREEN, [S.ACKED]], ["dead", RED, [S.DEAD]],
  ["dropped", RED, [S.DROPPED]], ["lost", RED, [S.LOST]], ["refused", RED, [S.REFUSED]],
];
const FADE = 0.9; // seconds of display time in which a token that is done disappears
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const BOLD = "600 " + FONT;
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

const element = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
};
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
// The last index whose value is at most `value`; `values` must grow.
const before = (values, value) => {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
};
const seconds = (value, end) => value.toFixed(end < 1000 ? 3 : 1) + " s";

/** A scene that can be wound to any event: where each token is and what each counter says there. */
class Film {
  constructor(scene) {
    Object.assign(this, scene);
    this.length = scene.at.length;
    this.end = this.length ? scene.at[this.length - 1] : 0;
    const n = scene.tokens.length;
    this.box = new Int32Array(n);
    this.state = new Int32Array(n);
    this.since = new Int32Array(n);
    this.until = new Float64Array(n);
    this.order = new Float64Array(n);
    this.everSeen = new Set(scene.moves.map((move) => move[3]));
    this.about.forEach(() => 0);
    this.measure();
  }

  rewind() {
    this.index = -1;
    this.nextMove = this.nextMark = 0;
    this.state.fill(S.GONE);
    this.box.fill(-1);
    this.since.fill(-1);
    this.counts = this.boxes.map(() => new Int32Array(STATES.length));
    this.crashed = this.boxes.map(() => false);
    this.closed = this.boxes.map(() => false);
    this.effects = this.boxes.map(() => 0);
    this.flash = this.boxes.map(() => null);
  }

  /** What the strip below the stage draws: how many tokens are ready and in flight after each event. */
  measure() {
    this.ready = new Int32Array(this.length);
    this.flying = new Int32Array(this.length);
    this.used = this.boxes.map(() => new Set());
    this.rewind();
    let ready = 0, flying = 0, move = 0;
    const state = new Int32Array(this.tokens.length).fill(S.GONE);
    for (let i = 0; i < this.length; i++) {
      for (; move < this.moves.length && this.moves[move][0] === i; move++) {
        const [, token, , to] = this.moves[move], from = state[token];
        ready += (to === S.READY || to === S.RESTING) - (from === S.READY || from === S.RESTING);
        flying += (to === S.IN_FLIGHT || to === S.RECEIVED) - (from === S.IN_FLIGHT || from === S.RECEIVED);
        state[token] = to;
        const home = this.tokens[token][1];
        if (home >= 0) this.used[home].add(to);
      }
      this.ready[i] = ready;
      this.flying[i] = flying;
    }
  }

  seek(index) {
    if (index < this.index) this.rewind();
    for (; this.nextMove < this.moves.length && this.moves[this.nextMove][0] <= index; this.nextMove++) {
      const [event, token, box, state, until, order] = this.moves[this.nextMove];
      const home = this.tokens[token][1];
      if (home >= 0) {
        if (this.since[token] >= 0) this.counts[home][this.state[token]]--;
        this.counts[home][state]++;
      }
      this.box[token] = box;
      this.state[token] = state;
      this.since[token] = event;
      this.until[token] = until;
      this.order[token] = order;
    }
    for (; this.nextMark < this.marks.length && this.marks[this.nextMark][0] <= index; this.nextMark++) {
      const [event, box, mark] = this.marks[this.nextMark];
      if (mark === MARK.CRASHED || mark === MARK.RESTARTED) this.crashed[box] = mark === MARK.CRASHED;
      else if (mark === MARK.CLOSED) this.closed[box] = true;
      else this.flash[box] = [event, mark];
      if (mark === MARK.EFFECT) this.effects[box]++;
    }
    this.index = index;
  }

  /** The virtual time that the display shows at display time `beat`. */
  time(beat) {
    const i = clamp(before(this.beat, beat), 0, this.length - 1);
    if (i + 1 >= this.length) return this.end;
    const span = this.beat[i + 1] - this.beat[i];
    return this.at[i] + (span > 0 ? (beat - this.beat[i]) / span : 0) * (this.at[i + 1] - this.at[i]);
  }

  beatOf(time) {
    const i = clamp(before(this.at, time), 0, this.length - 1);
    if (i + 1 >= this.length) return this.beat[i];
    return this.beat[i] + (time - this.at[i]) / (this.at[i + 1] - this.at[i]) * (this.beat[i + 1] - this.beat[i]);
  }
}

/** Where everything stands, in pixels, for one width. */
class Plan {
  constructor(film, width, measureText) {
    this.film = film;
    this.text = measureText;
    this.width = Math.max(width, 520);
    this.widestLabel = Math.max(0, ...film.messages.slice(0, 400).map(([, label]) => measureText(label)));
    this.widestId = Math.max(0, ...film.messages.slice(-40).map(([id]) => measureText(id)));
    const columns = [];
    film.boxes.forEach((box, i) => (columns[box[3]] ??= []).push(i));
    this.columns = columns.filter(Boolean);
    this.place();
  }

  place() {
    const wide = this.columns.map((column) => column.some((i) => this.film.boxes[i][1] !== "participant"));
    const gap = clamp(this.width * 0.06, 18, 56), wides = wide.filter(Boolean).length;
    const gaps = gap * (this.columns.length - 1);
    let narrow = clamp((this.width - gaps) * 0.2, 92, 156);
    if (!wides) narrow = Math.min(260, (this.width - gaps) / this.columns.length);
    const rest = (this.width - gaps - narrow * (wide.length - wides)) / (wides || 1) - 2;
    const most = Math.max(...this.columns.map((column) => column.length));
    this.rects = [];
    let x = 1;
    const heights = this.columns.map((column, c) => {
      const w = wide[c] ? rest : narrow;
      let y = 0;
      for (const i of column) {
        const rect = this.measure(i, w, most > 6);
        Object.assign(rect, { x, y });
        this.rects[i] = rect;
        y += rect.h + (most > 6 ? 7 : 14);
      }
      x += w + gap;
      return y - (most > 6 ? 7 : 14);
    });
    this.height = Math.max(70, ...heights) + 20;
    this.columns.forEach((column, c) => {
      const down = 12 + (this.height - 20 - heights[c]) / 2;
      for (const i of column) this.rects[i].y += down;
    });
  }

  measure(i, w, tight) {
    const [, role, capacity, , , peak] = this.film.boxes[i];
    const channel = role !== "participant";
    const slots = channel && capacity && capacity <= 60 ? Math.max(capacity, peak) : Math.max(peak, 1);
    const inner = channel ? w - 36 : w - 14;
    const fit = this.fit(inner, slots, channel ? 84 : tight ? 22 : 48);
    const token = Math.max(fit.rows * (fit.h + 4), channel ? 28 : 22);
    const counters = channel ? this.counters(i, w) : [];
    const top = channel ? 20 : tight ? 20 : 24, bottom = channel ? counters.length * 17 + 2 : tight ? 2 : 20;
    const pipe = channel ? token + 12 : token;
    return { w, h: top + pipe + bottom, top, pipe, fit, slots, channel, tight, counters, inner, left: channel ? 18 : 7 };
  }

  /** The largest tokens of which `n` fit into `width` and `height`. */
  fit(width, n, height) {
    const sizes = [
      ["label", clamp(this.widestLabel + 24, 34, 104), 20], ["id", clamp(this.widestId + 22, 30, 90), 20],
      ["id", clamp(this.widestId + 8, 24, 80), 18], ["dot", 14, 14], ["dot", 11, 11], ["dot", 8, 8], ["dot", 6, 6],
      ["dot", 4, 4],
    ];
    for (const [mode, w, h] of sizes) {
      const gap = h > 8 ? 4 : 2, across = Math.floor((width + gap) / (w + gap));
      const rows = across ? Math.ceil(n / across) : Infinity;
      if (rows * (h + gap) <= height || h === 4) return { mode, w, h, gap, across: Math.max(across, 1), rows };
    }
  }

  counters(i, width) {
    const shown = COUNTERS.filter(([, , states]) => states.some((s) => this.film.used[i].has(s)));
    const lines = [];
    let used = Infinity;
    for (const counter of shown) {
      const w = this.text(counter[0]) + 52;
      if (used + w > width) { lines.push([]); used = 0; }
      lines.at(-1).push([counter, used]);
      used += w;
    }
    return lines;
  }

  /** The middle of slot `n` of box `i`; a channel fills from its exit, on the right. */
  slot(i, n) {
    const { x, y, top, pipe, fit, w, channel, left } = this.rects[i];
    const row = Math.floor(n / fit.across), column = n % fit.across, rows = Math.min(fit.rows, 40);
    const step = fit.w + fit.gap, height = rows * (fit.h + fit.gap) - fit.gap;
    const dy = y + top + (pipe - height) / 2 + row * (fit.h + fit.gap) + fit.h / 2;
    const dx = left + column * step + fit.w / 2;
    return [channel ? x + w - dx : x + dx, dy];
  }

  slotsIn(i) {
    const { slots, channel } = this.rects[i], [, , capacity] = this.film.boxes[i];
    return channel && capacity && capacity <= 60 ? slots : 0;
  }
}

/** Draws one moment of a film on a canvas, and lets the tokens glide to where they belong. */
class Stage {
  constructor(canvas, root) {
    this.canvas = canvas;
    this.root = root;
    this.context = canvas.getContext("2d");
    this.reduced = matchMedia("(prefers-reduced-motion: reduce)");
    this.selected = -1;
    this.recolour();
  }

  recolour() {
    const style = getComputedStyle(this.root);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.ink = colour("--eip-ink");
    this.soft = colour("--eip-soft");
    this.paper = colour("--eip-paper");
    this.boxFill = colour("--eip-box");
    this.line = colour("--eip-line");
  }

  show(film, width) {
    this.context.font = FONT;
    const known = new Map();
    this.textWidth = (text) => {
      if (!known.has(text)) known.set(text, this.context.measureText(text).width);
      return known.get(text);
    };
    this.film = film;
    const n = film.tokens.length;
    this.px = new Float64Array(n).fill(NaN);
    this.py = new Float64Array(n);
    this.vx = new Float64Array(n);
    this.vy = new Float64Array(n);
    this.tx = new Float64Array(n);
    this.ty = new Float64Array(n);
    this.labels = film.tokens.map(([message]) => film.messages[message]);
    this.cut = new Map();
    this.resize(width);
  }

  resize(width) {
    this.plan = new Plan(this.film, width, this.textWidth);
    const ratio = window.devicePixelRatio || 1, { height } = this.plan;
    this.canvas.style.height = height + "px";
    this.canvas.style.width = this.plan.width + "px";
    this.canvas.width = Math.round(this.plan.width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.px.fill(NaN);
    this.cut.clear();
    this.aimed = -2;
  }

  /** Give each visible token its place: first come, first in line. */
  aim() {
    const { film, plan } = this;
    if (this.aimed === film.index) return;
    this.aimed = film.index;
    const inBox = film.boxes.map(() => []);
    this.visible = [];
    for (let t = 0; t < film.tokens.length; t++) {
      const box = film.box[t], state = film.state[t];
      if (box < 0 || state === S.GONE) { this.px[t] = NaN; continue; }
      this.visible.push(t);
      if (state < S.ACKED || state === S.DEAD) inBox[box].push(t);
    }
    inBox.forEach((tokens, box) => {
      tokens.sort((a, b) => film.order[a] - film.order[b] || a - b);
      tokens.forEach((t, n) => { [this.tx[t], this.ty[t]] = plan.slot(box, n); });
    });
    for (const t of this.visible) {
      if (Number.isNaN(this.px[t])) this.appear(t);
    }
  }

  appear(t) {
    if (this.tx[t] === 0) [this.tx[t], this.ty[t]] = this.plan.slot(this.film.box[t], 0);
    this.px[t] = this.tx[t];
    this.py[t] = this.ty[t];
    this.vx[t] = this.vy[t] = 0;
  }

  /** Move the tokens for `dt` seconds, as critically damped springs. True while any still moves. */
  glide(dt, speed) {
    const still = this.reduced.matches || dt === 0;
    const w = 9 * clamp(speed, 0.7, 3), decay = Math.exp(-w * dt);
    let moving = false;
    for (const t of this.visible) {
      const dx = this.px[t] - this.tx[t], dy = this.py[t] - this.ty[t];
      if (still || (Math.abs(dx) + Math.abs(dy) < 0.3 && Math.abs(this.vx[t]) + Math.abs(this.vy[t]) < 4)) {
        this.px[t] = this.tx[t];
        this.py[t] = this.ty[t];
        this.vx[t] = this.vy[t] = 0;
        continue;
      }
      const ax = (this.vx[t] + w * dx) * dt, ay = (this.vy[t] + w * dy) * dt;
      this.px[t] = this.tx[t] + (dx + ax) * decay;
      this.py[t] = this.ty[t] + (dy + ay) * decay;
      this.vx[t] = (this.vx[t] - w * ax) * decay;
      this.vy[t] = (this.vy[t] - w * ay) * decay;
      moving = true;
    }
    return moving;
  }

  draw(now, beat) {
    const c = this.context;
    c.clearRect(0, 0, this.plan.width, this.plan.height);
    c.textBaseline = "middle";
    this.drawArrows();
    this.film.boxes.forEach((box, i) => (this.plan.rects[i].channel ? this.drawChannel(i) : this.drawParticipant(i, beat)));
    const late = [];
    for (const t of this.visible) {
      if (this.film.state[t] < S.ACKED || this.film.state[t] === S.DEAD) this.drawToken(t, now, 1, 0);
      else late.push(t);
    }
    for (const t of late) {
      const gone = (beat - this.film.beat[this.film.since[t]]) / FADE;
      if (gone < 1) this.drawToken(t, now, 1 - gone * gone, gone);
    }
  }

  drawArrows() {
    const c = this.context;
    c.strokeStyle = c.fillStyle = this.line;
    c.lineWidth = 1.5;
    for (const [a, b] of this.film.arrows) {
      const from = this.plan.rects[a], to = this.plan.rects[b];
      const middle = (r) => (r.channel ? r.y + r.top + r.pipe / 2 : r.y + r.h / 2);
      c.beginPath();
      if (this.film.boxes[a][3] === this.film.boxes[b][3]) {
        const x = from.x + from.w / 2 + (from.w * 0.36), end = to.y + to.top - 3;
        c.moveTo(x, from.y + from.top + from.pipe);
        c.lineTo(x, end);
        this.arrowHead(x, end, 0, 1);
      } else {
        const right = from.x < to.x, x1 = right ? from.x + from.w : from.x, x2 = right ? to.x : to.x + to.w;
        const y1 = middle(from), y2 = middle(to), half = (x2 - x1) / 2, tip = right ? -4 : 4;
        c.moveTo(x1, y1);
        c.bezierCurveTo(x1 + half, y1, x2 - half, y2, x2 + tip, y2);
        this.arrowHead(x2, y2, right ? 1 : -1, 0);
      }
      c.stroke();
    }
  }

  arrowHead(x, y, dx, dy) {
    const c = this.context;
    c.stroke();
    c.beginPath();
    c.moveTo(x, y);
    c.lineTo(x - 7 * dx - 4 * dy, y - 7 * dy - 4 * dx);
    c.lineTo(x - 7 * dx + 4 * dy, y - 7 * dy + 4 * dx);
    c.closePath();
    c.fill();
    c.beginPath();
  }

  drawParticipant(i, beat) {
    const c = this.context, r = this.plan.rects[i], film = this.film, down = film.crashed[i];
    c.globalAlpha = down ? 0.75 : 1;
    this.round(r.x, r.y, r.w, r.h, 6);
    c.fillStyle = this.boxFill;
    c.fill();
    c.lineWidth = 1.5;
    c.strokeStyle = down ? RED : this.line;
    c.setLineDash(down ? [5, 4] : []);
    c.stroke();
    c.setLineDash([]);
    this.drawFlash(i, beat);
    const right = r.tight && this.footer(i);
    this.write(film.boxes[i][0], r.x + 8, r.y + 12, r.w - 16 - (right ? this.textWidth(right) + 8 : 0), BOLD, down ? this.soft : this.ink);
    const text = this.footer(i);
    if (text && r.tight) this.write(text, r.x + r.w - 8 - this.textWidth(text), r.y + 12, 90, FONT, this.soft);
    else if (text) this.write(text, r.x + 8, r.y + r.h - 11, r.w - 16, FONT, this.soft);
    if (down) this.drawCross(r);
    c.globalAlpha = 1;
  }

  footer(i) {
    if (this.film.crashed[i]) return "crashed";
    return this.film.effects[i] ? (this.plan.rects[i].tight ? "✓ " : "effects ") + this.film.effects[i] : "";
  }

  drawCross({ x, y, w, h }) {
    const c = this.context;
    c.strokeStyle = RED;
    c.lineWidth = 2.5;
    c.beginPath();
    const s = Math.min(9, h / 4), cx = x + w - s - 8, cy = y + h / 2;
    c.moveTo(cx - s, cy - s);
    c.lineTo(cx + s, cy + s);
    c.moveTo(cx + s, cy - s);
    c.lineTo(cx - s, cy + s);
    c.stroke();
  }

  /** A coloured frame for a moment: an effect, a failure, a duplicate, a stale lease. */
  drawFlash(i, beat) {
    const flash = this.film.flash[i];
    if (!flash) return;
    const age = (beat - this.film.beat[flash[0]]) / FADE;
    if (age >= 1) return;
    const c = this.context, r = this.plan.rects[i];
    c.globalAlpha = 1 - age;
    c.strokeStyle = { [MARK.EFFECT]: GREEN, [MARK.FAILED]: RED }[flash[1]] ?? PURPLE;
    c.lineWidth = 3;
    this.round(r.x, r.y, r.w, r.h, 6);
    c.stroke();
    c.globalAlpha = 1;
  }

  drawChannel(i) {
    const c = this.context, r = this.plan.rects[i], [name, role, capacity] = this.film.boxes[i];
    const y = r.y + r.top, bend = 9, dead = role === "dead letters";
    const note = this.film.closed[i] ? "closed" : capacity ? `holds ${capacity}` : "";
    this.write(name, r.x + 2, r.y + 9, r.w - 8 - this.textWidth(note), BOLD, this.ink);
    this.write(note, r.x + r.w - 2 - this.textWidth(note), r.y + 9, r.w, FONT, this.soft);
    c.lineWidth = 1.5;
    c.strokeStyle = dead ? RED : this.line;
    c.fillStyle = this.boxFill;
    c.beginPath();
    if (dead) {
      c.roundRect(r.x + 1, y, r.w - 2, r.pipe, 4);
      c.setLineDash([5, 4]);
    } else {
      c.moveTo(r.x + bend, y);
      c.lineTo(r.x + r.w - bend, y);
      c.ellipse(r.x + r.w - bend, y + r.pipe / 2, bend, r.pipe / 2, 0, -Math.PI / 2, Math.PI / 2);
      c.lineTo(r.x + bend, y + r.pipe);
      c.ellipse(r.x + bend, y + r.pipe / 2, bend, r.pipe / 2, 0, Math.PI / 2, -Math.PI / 2);
    }
    c.fill();
    c.stroke();
    c.setLineDash([]);
    if (!dead) { // the near rim of the pipe
      c.beginPath();
      c.ellipse(r.x + bend, y + r.pipe / 2, bend, r.pipe / 2, 0, 0, 2 * Math.PI);
      c.stroke();
    }
    this.drawSlots(i, r);
    this.drawCounters(i, r);
  }

  drawSlots(i, r) {
    const c = this.context, { fit } = r;
    c.lineWidth = 1;
    c.globalAlpha = 0.7;
    for (let n = 0; n < this.plan.slotsIn(i); n++) {
      const [x, y] = this.plan.slot(i, n);
      this.round(x - fit.w / 2, y - fit.h / 2, fit.w, fit.h, Math.min(fit.h / 2, 9));
      c.fillStyle = this.paper;
      c.fill();
      c.stroke();
    }
    c.globalAlpha = 1;
  }

  drawCounters(i, r) {
    const counts = this.film.counts[i];
    r.counters.forEach((line, row) => {
      for (const [[word, colour, states], dx] of line) {
        const x = r.x + 2 + dx, y = r.y + r.top + r.pipe + 12 + row * 17;
        const n = states.reduce((sum, state) => sum + counts[state], 0);
        this.context.fillStyle = colour;
        this.context.fillRect(x, y - 4, 8, 8);
        this.write(`${word} ${n}`, x + 12, y, 200, FONT, n ? this.ink : this.soft);
      }
    });
  }

  drawToken(t, now, alpha, gone) {
    const c = this.context, { film } = this, state = film.state[t], look = LOOKS[state];
    const { fit } = this.plan.rects[film.box[t]], { w, h, mode } = fit;
    const x = this.px[t], y = this.py[t] - gone * 16;
    c.globalAlpha = alpha;
    this.round(x - w / 2, y - h / 2, w, h, Math.min(h / 2, 9));
    c.fillStyle = look.fill ?? this.paper;
    c.fill();
    if (look.line) {
      c.strokeStyle = look.line;
      c.lineWidth = mode === "dot" ? 1.5 : 2;
      c.setLineDash(look.dash ? [4, 3] : []);
      c.stroke();
      c.setLineDash([]);
    }
    if (film.tokens[t][0] === this.selected) this.drawSelection(x, y, w, h);
    if (mode === "dot") this.signDot(t, look, x, y, w, now);
    else this.label(t, look, x, y, w, mode, now);
    c.globalAlpha = 1;
  }

  drawSelection(x, y, w, h) {
    const c = this.context;
    this.round(x - w / 2 - 3, y - h / 2 - 3, w + 6, h + 6, 11);
    c.strokeStyle = this.ink;
    c.lineWidth = 2.5;
    c.stroke();
  }

  label(t, look, x, y, w, mode, now) {
    const sign = look.sign && w >= 40;
    const colour = look.ink ?? this.ink;
    if (sign) this.sign(look.sign, x - w / 2 + 10, y, 4.5, colour, this.leaseLeft(t, now));
    const [id, label] = this.labels[t], text = mode === "label" ? label : id;
    const from = x - w / 2 + (sign ? 18 : 4), room = w - (sign ? 22 : 8);
    const shown = this.short(text, room);
    this.context.font = FONT;
    this.context.fillStyle = colour;
    this.context.fillText(shown, from + Math.max(0, (room - this.textWidth(shown)) / 2), y + 0.5);
  }

  signDot(t, look, x, y, w, now) {
    if (w >= 8 && look.sign && look.sign !== "ring") this.sign(look.sign, x, y, w / 2 - 2, look.ink ?? this.ink, 0);
    if (w >= 11 && look.sign === "ring") this.sign("ring", x, y, w / 2 - 2.5, look.ink, this.leaseLeft(t, now));
  }

  /** The part of the lease that is left, from 1 down to 0. */
  leaseLeft(t, now) {
    const start = this.film.at[this.film.since[t]], until = this.film.until[t];
    return until > start ? clamp((until - now) / (until - start), 0, 1) : 0;
  }

  sign(name, x, y, r, colour, part) {
    const c = this.context;
    c.strokeStyle = colour;
    c.lineWidth = 2;
    c.beginPath();
    if (name === "ring") {
      c.globalAlpha *= 0.3;
      c.arc(x, y, r, 0, 2 * Math.PI);
      c.stroke();
      c.globalAlpha /= 0.3;
      c.beginPath();
      c.arc(x, y, r, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * part);
    } else if (name === "check") {
      c.moveTo(x - r, y);
      c.lineTo(x - r / 3, y + r * 0.7);
      c.lineTo(x + r, y - r * 0.8);
    } else if (name === "cross") {
      c.moveTo(x - r * 0.8, y - r * 0.8);
      c.lineTo(x + r * 0.8, y + r * 0.8);
      c.moveTo(x + r * 0.8, y - r * 0.8);
      c.lineTo(x - r * 0.8, y + r * 0.8);
    } else if (name === "pause") {
      c.moveTo(x - r / 2, y - r * 0.8);
      c.lineTo(x - r / 2, y + r * 0.8);
      c.moveTo(x + r / 2, y - r * 0.8);
      c.lineTo(x + r / 2, y + r * 0.8);
    } else {
      c.moveTo(x - r, y);
      c.lineTo(x + r, y);
    }
    c.stroke();
  }

  round(x, y, w, h, r) {
    this.context.beginPath();
    this.context.roundRect(x, y, w, h, r);
  }

  write(text, x, y, room, font, colour) {
    this.context.font = font;
    this.context.fillStyle = colour;
    this.context.fillText(this.short(text, font === BOLD ? room * 0.93 : room), x, y);
  }

  short(text, room) {
    const key = text + "|" + Math.round(room);
    if (!this.cut.has(key)) {
      let cut = text;
      while (cut.length > 1 && this.textWidth(cut === text ? cut : cut + "…") > room) cut = cut.slice(0, -1);
      this.cut.set(key, cut === text ? text : cut + "…");
    }
    return this.cut.get(key);
  }

  /** The token under a point of the canvas, or -1. */
  tokenAt(x, y) {
    for (let k = this.visible.length - 1; k >= 0; k--) {
      const t = this.visible[k], { fit } = this.plan.rects[this.film.box[t]];
      if (this.film.state[t] >= S.ACKED && this.film.state[t] !== S.DEAD) continue;
      if (Math.abs(x - this.px[t]) <= fit.w / 2 + 2 && Math.abs(y - this.py[t]) <= fit.h / 2 + 2) return t;
    }
    return -1;
  }

  boxAt(x, y) {
    return this.plan.rects.findIndex((r) => x >= r.x && x <= r.x + r.w && y >= r.y && y <= r.y + r.h);
  }
}
