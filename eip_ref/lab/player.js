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
    this.origin = new Int32Array(n).fill(-1);
    for (const [, token, box] of scene.moves) if (this.origin[token] < 0) this.origin[token] = box;
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
    this.width = Math.max(width, 380);
    this.widestLabel = Math.max(0, ...film.messages.slice(0, 400).map(([, label]) => measureText(label)));
    this.widestId = Math.max(0, ...film.messages.slice(-40).map(([id]) => measureText(id)));
    const columns = [];
    film.boxes.forEach((box, i) => (columns[box[3]] ??= []).push(i));
    this.columns = columns.filter(Boolean);
    const column = (i) => film.boxes[i][3]; // a channel whose messages leave to the left is drawn the other way round
    this.flipped = film.boxes.map((_, i) => film.arrows.some(([a, b]) => a === i && column(b) < column(i)));
    this.place();
  }

  place() {
    const wide = this.columns.map((column) => column.some((i) => this.film.boxes[i][1] !== "participant"));
    const gap = clamp(this.width * 0.06, 18, 56), wides = wide.filter(Boolean).length;
    const gaps = gap * (this.columns.length - 1);
    let narrow = clamp((this.width - gaps) * 0.2, 84, 156);
    if (!wides) narrow = Math.min(260, (this.width - gaps) / this.columns.length);
    const rest = (this.width - gaps - narrow * (wide.length - wides)) / (wides || 1) - 2;
    const most = Math.max(...this.columns.map((column) => column.length));
    this.rects = [];
    let x = 1;
    const heights = this.columns.map((column, c) => {
      const w = wide[c] ? rest : narrow;
      let y = 0;
      for (const i of column) {
        const rect = this.measure(i, w, most > 6, most > 8);
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

  measure(i, w, tight, crowded) {
    const [, role, capacity, , , peak] = this.film.boxes[i];
    const channel = role !== "participant";
    const slots = channel && capacity && capacity <= 60 ? Math.max(capacity, peak) : Math.max(peak, 1);
    const inner = channel ? w - 36 : tight ? w - 42 : w - 14; // tight: a counter stands beside the tokens
    const fit = this.fit(inner, slots, channel ? 84 : tight && crowded ? 24 : 48);
    const token = Math.max(fit.rows * (fit.h + 4), channel ? 28 : 22);
    const counters = channel ? this.counters(i, w - 24) : [];
    const lines = channel ? [] : this.wrap(this.film.boxes[i][0], w - 16);
    const top = (channel || tight ? 20 : 24) + 15 * Math.max(0, lines.length - 1), bottom = channel ? counters.length * 17 + 2 : tight ? 2 : 20;
    const pipe = channel ? token + 12 : token;
    return { w, h: top + pipe + bottom, top, pipe, lines, fit, slots, channel, tight, counters, inner, left: channel ? 18 : 7 };
  }

  /** A name in at most two lines; what is longer still will be cut, and shown whole when pointed at. */
  wrap(name, room) {
    const fits = (text) => this.text(text) * 1.08 <= room; // names are bold
    if (fits(name)) return [name];
    const parts = name.split(/(?<=[\s\-_.])/);
    let first = parts.shift();
    while (parts.length && fits((first + parts[0]).trim())) first += parts.shift();
    return parts.length ? [first.trim(), parts.join("")] : [first];
  }

  /** The largest tokens of which `n` fit into `width` and `height`. */
  fit(width, n, height) {
    const sizes = [
      ["label", clamp(this.widestLabel + 26, 40, 104), 20], ["id", clamp(this.widestId + 26, 40, 90), 20],
      ["bare", clamp(this.widestId + 8, 24, 80), 18], ["dot", 14, 14], ["dot", 11, 11], ["dot", 8, 8], ["dot", 6, 6],
      ["dot", 4, 4],
    ];
    for (const [mode, w, h] of sizes) {
      const gap = h > 8 ? 4 : 2, across = Math.floor((width + gap) / (w + gap));
      const rows = across ? Math.ceil(n / across) : Infinity;
      const room = h <= 8 && height > 80 ? 124 : height;
      if (rows * (h + gap) > room && h > 4) continue;
      return { mode, w, h, gap, rows, across: Math.max(1, mode === "dot" ? across : Math.ceil(n / rows)) };
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
    return [channel && !this.flipped[i] ? x + w - dx : x + dx, dy];
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
    const leap = this.reduced.matches || Math.abs(film.index - this.aimed) > 80;
    const faded = film.beat[film.index] - FADE;
    this.aimed = film.index;
    const inBox = film.boxes.map(() => []);
    this.visible = [];
    for (let t = 0; t < film.tokens.length; t++) {
      const box = film.box[t], state = film.state[t];
      const stays = this.stays(t);
      if (box < 0 || state === S.GONE || (!stays && film.beat[film.since[t]] < faded)) {
        this.px[t] = NaN;
        continue;
      }
      this.visible.push(t);
      if (stays) inBox[box].push(t);
      else if (Number.isNaN(this.px[t])) [this.tx[t], this.ty[t]] = plan.slot(box, 0);
    }
    inBox.forEach((tokens, box) => {
      tokens.sort((a, b) => film.order[a] - film.order[b] || a - b);
      tokens.forEach((t, n) => { [this.tx[t], this.ty[t]] = plan.slot(box, n); });
    });
    for (const t of this.visible) {
      if (!Number.isNaN(this.px[t])) continue;
      const from = film.origin[t];
      [this.px[t], this.py[t]] = leap || from < 0 ? [this.tx[t], this.ty[t]] : plan.slot(from, 0);
      this.vx[t] = this.vy[t] = 0;
    }
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
    for (const t of this.visible) {
      const gone = this.stays(t) ? 0 : (beat - this.film.beat[this.film.since[t]]) / FADE;
      if (gone > 0 && gone < 1) this.drawToken(t, now, 1 - gone * gone, gone);
    }
    for (const t of this.visible) {
      if (this.stays(t) || beat <= this.film.beat[this.film.since[t]]) this.drawToken(t, now, 1, 0);
    }
  }

  stays(t) { return this.film.state[t] < S.ACKED || this.film.state[t] === S.DEAD; }

  drawArrows() {
    const c = this.context;
    c.strokeStyle = c.fillStyle = this.line;
    c.lineWidth = 1.5;
    for (const [a, b] of this.film.arrows) {
      const from = this.plan.rects[a], to = this.plan.rects[b];
      const middle = (r) => (r.channel ? r.y + r.top + r.pipe / 2 : r.y + r.h / 2);
      c.beginPath();
      if (this.film.boxes[a][3] === this.film.boxes[b][3]) {
        const x = from.x + from.w - 14, end = to.y + to.top - 3;
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
    r.lines.forEach((line, n) => this.write(line, r.x + 8, r.y + 12 + 15 * n, r.w - 16, BOLD, down ? this.soft : this.ink));
    const text = this.footer(i);
    if (text && r.tight) this.write(text, r.x + r.w - 6 - this.textWidth(text), r.y + r.h - 13, 60, FONT, this.soft);
    else if (text) this.write(text, r.x + 8, r.y + r.h - 11, r.w - 16, FONT, this.soft);
    if (down) this.drawCross(r);
    c.globalAlpha = 1;
  }

  footer(i) {
    if (this.film.crashed[i]) return this.plan.rects[i].tight ? "" : "crashed";
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
      c.ellipse(this.plan.flipped[i] ? r.x + r.w - bend : r.x + bend, y + r.pipe / 2, bend, r.pipe / 2, 0, 0, 2 * Math.PI);
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
    const x = this.px[t] + gone * 24, y = this.py[t];
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
    const sign = look.sign && mode !== "bare";
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
      if (!this.stays(t)) continue;
      if (Math.abs(x - this.px[t]) <= fit.w / 2 + 2 && Math.abs(y - this.py[t]) <= fit.h / 2 + 2) return t;
    }
    return -1;
  }

  boxAt(x, y) {
    return this.plan.rects.findIndex((r) => x >= r.x && x <= r.x + r.w && y >= r.y && y <= r.y + r.h);
  }
}

/** The strip above the slider: how much is ready and in flight over time, and where we are. */
class Strip {
  constructor(canvas, stage) {
    this.canvas = canvas;
    this.stage = stage;
    this.height = 64;
  }

  resize(width) {
    const ratio = window.devicePixelRatio || 1;
    this.width = width;
    this.canvas.style.height = this.height + "px";
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = this.height * ratio;
    this.context = this.canvas.getContext("2d");
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.still = null;
  }

  x(time) {
    const { end } = this.stage.film;
    return 8 + (end ? time / end : 0) * (this.width - 16);
  }

  draw(now) {
    if (!this.still) this.paint();
    const c = this.context;
    c.clearRect(0, 0, this.width, this.height);
    c.drawImage(this.still, 0, 0, this.width, this.height);
    c.fillStyle = this.stage.ink;
    c.fillRect(this.x(now) - 1, 0, 2, this.height);
  }

  paint() {
    this.still = element("canvas");
    this.still.width = this.canvas.width;
    this.still.height = this.canvas.height;
    const c = this.still.getContext("2d"), { film } = this.stage, base = this.height - 2;
    const ratio = this.still.width / this.width;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    let most = 1;
    for (let i = 0; i < film.length; i++) most = Math.max(most, film.ready[i] + film.flying[i]);
    const y = (n) => base - n / most * (base - 17);
    const ready = film.ready, all = (i) => film.ready[i] + film.flying[i];
    this.band(c, film, () => base, (i) => y(ready[i]), BLUE);
    this.band(c, film, (i) => y(ready[i]), (i) => y(all(i)), ORANGE);
    c.fillStyle = this.stage.line;
    c.fillRect(8, base, this.width - 16, 1);
    this.markCrashes(c, film);
    c.font = FONT;
    c.textBaseline = "top";
    c.fillStyle = this.stage.soft;
    c.fillText(`ready and in flight over ${seconds(film.end, 1e9)}, at most ${most}`, 10, 1);
  }

  /** The area between two step lines. */
  band(c, film, low, high, colour) {
    const right = this.width - 8, n = film.length;
    c.beginPath();
    for (let i = 0; i < n; i++) {
      const next = i + 1 < n ? this.x(film.at[i + 1]) : right;
      c.lineTo(this.x(film.at[i]), high(i));
      c.lineTo(next, high(i));
    }
    for (let i = n - 1; i >= 0; i--) {
      const next = i + 1 < n ? this.x(film.at[i + 1]) : right;
      c.lineTo(next, low(i));
      c.lineTo(this.x(film.at[i]), low(i));
    }
    c.fillStyle = colour;
    c.fill();
  }

  markCrashes(c, film) {
    c.strokeStyle = this.stage.ink;
    c.lineWidth = 2;
    for (const [event, , mark] of film.marks) {
      if (mark !== MARK.CRASHED) continue;
      const x = this.x(film.at[event]), y = this.height - 7;
      c.beginPath();
      c.moveTo(x - 4, y - 4);
      c.lineTo(x + 4, y + 4);
      c.moveTo(x + 4, y - 4);
      c.lineTo(x - 4, y + 4);
      c.stroke();
    }
  }
}

const ICONS = {
  first: "M1 2h2v10H1zM13 2v10L4 7z", back: "M11 2v10L3 7z", play: "M3 1l10 6-10 6z",
  pause: "M2 2h4v10H2zM8 2h4v10H8z", next: "M3 2v10l8-5z", last: "M11 2h2v10h-2zM1 2v10l9-5z",
};
const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 14 14");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
};
const dark = (colour) => {
  const [r, g, b] = (colour.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return 0.3 * r + 0.6 * g + 0.1 * b < 128;
};

/** The controls, and the clock that drives the stage. */
class Player {
  constructor(model, el) {
    this.model = model;
    this.speed = model.get("speed");
    this.playing = false;
    this.touched = false;
    this.build(el);
    this.stage = new Stage(this.canvas, this.root);
    this.strip = new Strip(this.stripCanvas, this.stage);
    this.wire();
    this.load();
  }

  build(el) {
    const button = (name, label, act) => element("button", { type: "button", title: label, "aria-label": label, onclick: act }, icon(name));
    this.title = element("div", { class: "eip-title" });
    this.canvas = element("canvas", { class: "eip-stage", tabindex: "0", role: "img" });
    this.stripCanvas = element("canvas", { class: "eip-strip", "aria-hidden": "true" });
    this.caption = element("div", { class: "eip-caption", role: "status", "aria-live": "polite" });
    this.slider = element("input", { type: "range", min: "0", max: "1000", step: "any", "aria-label": "Time" });
    this.playButton = element("button", { type: "button", class: "eip-play", onclick: () => this.toggle() });
    this.clock = element("span", { class: "eip-clock" });
    this.speedSelect = element("select", { onchange: () => { this.speed = Number(this.speedSelect.value); } },
      ...[...new Set([...SPEEDS, this.speed])].sort((a, b) => a - b).map((s) => element("option", { value: s }, `${s}×`)));
    this.speedSelect.value = this.speed;
    this.picker = element("select", { onchange: () => this.select(Number(this.picker.value)) });
    this.history = element("div", { class: "eip-history", hidden: "" });
    this.legend = element("ul", { class: "eip-legend", "aria-label": "What the tokens mean" });
    this.told = element("div", { class: "eip-unseen", role: "status", "aria-live": "polite" });
    this.help = element("div", { class: "eip-unseen", id: `eip-${crypto.getRandomValues(new Uint32Array(2)).join("-")}` },
      "Space plays and pauses. Left and right arrow step from event to event. Home and End go to the start and the end. " +
      "Up and down arrow choose a message and show its history; Escape hides it.");
    this.canvas.setAttribute("aria-describedby", this.help.id);
    this.controls = element("div", { class: "eip-controls", role: "group", "aria-label": "Playback" },
      button("first", "To the start", () => this.go(0)), button("back", "Previous event", () => this.step(-1)),
      this.playButton, button("next", "Next event", () => this.step(1)),
      button("last", "To the end", () => this.go(Infinity)), this.clock,
      element("span", { class: "eip-more" }, element("label", { class: "eip-of" }, "History", this.picker),
        element("label", {}, "Speed", this.speedSelect)));
    this.scroll = element("div", { class: "eip-scroll" }, this.canvas);
    this.root = element("div", { class: "eip-player", "data-lm-suppress-shortcuts": "true" }, this.title, this.scroll,
      this.caption, this.stripCanvas, this.slider, this.controls, this.legend, this.history, this.told, this.help);
    el.append(this.root);
  }

  wire() {
    this.abort = new AbortController();
    const on = (target, name, act) => target.addEventListener(name, act, { signal: this.abort.signal });
    this.slider.addEventListener("input", () => this.scrub(this.slider.value / 1000));
    on(this.stripCanvas, "pointerdown", (event) => { this.stripCanvas.setPointerCapture(event.pointerId); this.scrubAt(event); });
    on(this.stripCanvas, "pointermove", (event) => { if (event.buttons) this.scrubAt(event); });
    on(this.root, "keydown", (event) => this.key(event));
    on(this.canvas, "pointermove", (event) => this.hover(event));
    on(this.canvas, "pointerleave", () => this.point(-1));
    on(this.canvas, "click", (event) => this.select(this.messageAt(event)));
    on(this.canvas, "blur", () => this.point(-1));
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => this.theme());
    on(this.stage.reduced, "change", () => this.wake());
    this.themes = new MutationObserver(() => this.theme());
    this.themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class", "data-vscode-theme-kind"] });
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.root);
    this.onScene = () => this.load();
    this.onTitle = () => this.entitle();
    this.model.on("change:scene", this.onScene);
    this.model.on("change:title change:description", this.onTitle);
  }

  destroy() {
    this.abort.abort();
    this.themes.disconnect();
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
    this.playing = false;
    this.model.off("change:scene", this.onScene);
    this.model.off("change:title change:description", this.onTitle);
  }

  entitle() {
    const title = this.model.get("title");
    this.title.textContent = title;
    this.title.hidden = !title;
    this.canvas.setAttribute("aria-label", `${title ? title + ". " : ""}${this.model.get("description")}`);
    this.root.setAttribute("aria-label", title || "Player");
  }

  /** A new trace: keep the place, the speed and whether it plays. */
  load() {
    const old = this.film, place = old && old.end ? this.now() / old.end : 0;
    this.film = new Film(this.model.get("scene"));
    this.entitle();
    this.stage.show(this.film, this.room());
    this.strip.resize(this.room());
    this.fillPicker();
    this.fillLegend();
    this.point(-1);
    this.beat = !this.touched ? this.film.beat[this.film.poster] ?? 0 : place >= 1 ? this.film.beat.at(-1) ?? 0 : this.film.beatOf(place * this.film.end);
    this.index = this.touched ? before(this.film.beat, this.beat) : this.film.poster;
    this.theme();
    this.update(true);
  }

  room() { return this.scroll.clientWidth || 760; }

  resize() {
    const width = this.scroll.clientWidth;
    this.root.toggleAttribute("data-narrow", width < 640);
    if (!width || width === this.lastWidth) return; // 0 while it is not in the page
    this.lastWidth = width;
    this.stage.resize(width);
    this.strip.resize(width);
    this.theme(); // outside the page there were no colours to ask for
    this.update(true);
  }

  theme() {
    const root = this.root;
    const themed = getComputedStyle(document.body).getPropertyValue("--jp-layout-color0") || getComputedStyle(document.body).getPropertyValue("--vscode-editor-background");
    root.toggleAttribute("data-themed", Boolean(themed));
    root.toggleAttribute("data-dark", dark(getComputedStyle(root).backgroundColor));
    this.stage.recolour();
    this.strip.still = null;
    this.fillLegend();
    this.wake();
  }

  fillPicker() {
    const options = this.film.messages.map(([id, label], i) => element("option", { value: i }, label === id ? id : `${label} (${id})`));
    this.picker.replaceChildren(element("option", { value: -1 }, "none"), ...options);
    this.stage.selected = -1;
  }

  fillLegend() {
    const ratio = window.devicePixelRatio || 1;
    const items = STATES.map((_, state) => state).filter((state) => LOOKS[state] && this.film.everSeen.has(state) && state !== S.SENT);
    this.legend.replaceChildren(...items.map((state) => {
      const look = LOOKS[state], swatch = element("canvas", { width: 24 * ratio, height: 16 * ratio, "aria-hidden": "true" });
      const brush = Object.assign(Object.create(Stage.prototype), { context: swatch.getContext("2d") });
      brush.context.setTransform(ratio, 0, 0, ratio, 0, 0);
      brush.round(1.5, 1.5, 21, 13, 6.5);
      brush.context.fillStyle = look.fill ?? this.stage.paper;
      brush.context.fill();
      brush.context.strokeStyle = look.line ?? look.fill;
      brush.context.lineWidth = 2;
      brush.context.setLineDash(look.dash ? [4, 3] : []);
      brush.context.stroke();
      brush.context.setLineDash([]);
      if (look.sign) brush.sign(look.sign, 12, 8, 4, look.ink ?? this.stage.ink, 0.65);
      return element("li", {}, swatch, look.word);
    }));
  }

  // The clock

  /** The display time that is drawn: with reduced motion nothing moves between two events. */
  drawnBeat() { return this.stage.reduced.matches ? this.film.beat[this.index] ?? 0 : this.beat; }

  now() { return this.film.time(this.drawnBeat()); }

  toggle() {
    if (!this.playing && (!this.touched || this.index >= this.film.length - 1)) this.moveTo(0, this.film.beat[0]);
    this.touched = true;
    this.playing = !this.playing;
    this.update();
  }

  go(index) {
    this.touched = true;
    this.playing = false;
    index = clamp(index, 0, this.film.length - 1);
    this.moveTo(index, this.film.beat[index]);
    this.update();
  }

  step(by) { this.go(this.index + by); }

  scrub(part) {
    this.touched = true;
    const { film } = this, beat = film.end ? film.beatOf(part * film.end) : film.beat[Math.round(part * (film.length - 1))];
    this.moveTo(before(film.beat, beat), beat);
    this.update();
  }

  scrubAt(event) { this.scrub(clamp((event.offsetX - 8) / (this.strip.width - 16), 0, 1)); }

  moveTo(index, beat) {
    this.index = index;
    this.beat = beat ?? 0;
  }

  tick(time) {
    const dt = Math.min((time - (this.lastTick ?? time)) / 1000, 0.1), { film } = this;
    this.lastTick = time;
    if (this.playing) {
      const end = film.beat.at(-1) ?? 0, beat = Math.min(this.beat + dt * this.speed, end + FADE);
      const index = Math.max(this.index, before(film.beat, beat));
      if (beat >= end) this.playing = false;
      this.moveTo(index, beat);
    }
    const moving = this.render(dt);
    if (this.playing || moving) this.frame = requestAnimationFrame((t) => this.tick(t));
    else { this.frame = 0; this.update(); }
  }

  wake() {
    if (!this.frame && this.film) {
      this.lastTick = undefined;
      this.frame = requestAnimationFrame((t) => this.tick(t));
    }
  }

  render(dt) {
    const { film, stage } = this;
    if (!film.length) {
      stage.context.clearRect(0, 0, stage.plan.width, stage.plan.height);
      this.caption.textContent = "Nothing happened in this trace.";
      return false;
    }
    if (film.index !== this.index) film.seek(this.index);
    stage.aim();
    const moving = stage.glide(dt, this.playing ? this.speed : 1), now = this.now();
    stage.draw(now, this.drawnBeat());
    this.strip.draw(now);
    this.say(now);
    return moving;
  }

  say(now) {
    const { film } = this;
    const clock = `${seconds(now, film.end)}, event ${this.index + 1} of ${film.length}`;
    if (clock !== this.said) {
      this.said = clock;
      this.clock.textContent = clock;
      this.slider.value = film.end ? now / film.end * 1000 : this.index / Math.max(1, film.length - 1) * 1000;
      this.slider.setAttribute("aria-valuetext", clock);
    }
    if (this.index === this.captioned) return;
    this.captioned = this.index;
    this.caption.replaceChildren(element("b", {}, seconds(film.at[this.index], film.end)), film.say[this.index]);
  }

  /** Bring the controls in line with what is so, and draw. */
  update(fresh = false) {
    if (fresh) this.captioned = this.said = undefined;
    const name = this.playing ? "Pause" : "Play";
    if (this.playButton.dataset.is !== name) {
      this.playButton.dataset.is = name;
      this.playButton.replaceChildren(icon(this.playing ? "pause" : "play"), name);
    }
    this.caption.setAttribute("aria-live", this.playing ? "off" : "polite");
    if (fresh) this.render(0);
    this.wakeIfMoving();
  }

  wakeIfMoving() {
    const drawn = `${this.index} ${this.beat} ${this.playing}`;
    if (this.playing || drawn !== this.drawn) this.wake();
    this.drawn = drawn;
  }

  // Histories

  messageAt(event) {
    const t = this.stage.tokenAt(event.offsetX, event.offsetY);
    return t < 0 ? -1 : this.film.tokens[t][0];
  }

  hover(event) {
    const message = this.messageAt(event);
    const box = message < 0 ? this.stage.boxAt(event.offsetX, event.offsetY) : -1;
    this.canvas.title = box >= 0 ? this.film.boxes[box][0] : "";
    this.canvas.style.cursor = message < 0 ? "default" : "pointer";
    this.point(message, event.offsetX, event.offsetY);
  }

  select(message) {
    this.stage.selected = message;
    this.picker.value = message;
    this.point(message, 0, this.stage.plan.height - 20);
    this.told.textContent = message < 0 ? "" : this.history.innerText;
    this.wake();
  }

  story(message) {
    const { film } = this, lines = [];
    for (let i = 0; i <= this.index; i++) if (film.about[i] === message) lines.push([seconds(film.at[i], film.end), film.say[i]]);
    return lines;
  }

  point(message, x = 0, y = 0) {
    if (message < 0) { this.history.hidden = true; return; }
    const [id, label] = this.film.messages[message], lines = this.story(message), later = this.film.about.filter((m, i) => m === message && i > this.index).length;
    const shown = lines.slice(-12).map(([at, say]) => element("li", {}, element("span", {}, at), element("span", {}, say)));
    const more = later ? element("span", {}, `${later} more to come`) : "";
    this.history.replaceChildren(element("strong", {}, label === id ? id : `${label} (${id})`), element("ol", {}, ...shown), more);
    this.history.hidden = false;
    const left = clamp(x - 40, 4, Math.max(4, this.root.clientWidth - this.history.offsetWidth - 8));
    this.history.style.left = left + "px";
    this.history.style.top = this.scroll.offsetTop + y + 18 + "px";
  }

  choose(by) {
    const shown = [...new Set(this.stage.visible.map((t) => this.film.tokens[t][0]))].sort((a, b) => a - b);
    if (!shown.length) return;
    const at = shown.indexOf(this.stage.selected);
    this.select(shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : (at + by + shown.length) % shown.length]);
  }

  key(event) {
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const onStage = event.target === this.canvas, onTime = onStage || event.target === this.slider;
    const acts = {
      " ": (onTime || event.target === this.root) && (() => this.toggle()),
      ArrowRight: onTime && (() => this.step(1)), ArrowLeft: onTime && (() => this.step(-1)),
      Home: onTime && (() => this.go(0)), End: onTime && (() => this.go(Infinity)),
      ArrowDown: onStage && (() => this.choose(1)), ArrowUp: onStage && (() => this.choose(-1)),
      Escape: () => this.select(-1),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }
}

export default {
  render({ model, el }) {
    const player = new Player(model, el);
    el.eipPlayer = player; // for the browser tests
    return () => player.destroy();
  },
};
