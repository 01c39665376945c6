// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, stage, player. Plain JavaScript: nothing to build, nothing to fetch.

const STATES = ["SENT", "BLOCKED", "READY", "DELAYED", "IN_FLIGHT", "RECEIVED", "GHOST", "LATE", "ACKED",
  "DONE", "DEAD", "DROPPED", "LOST", "REFUSED", "GONE"];
const S = Object.fromEntries(STATES.map((name, i) => [name, i]));
const MARK = { CRASHED: 0, RESTARTED: 1, EFFECT: 2, FAILED: 3, DUPLICATE: 4, STALE: 5, CLOSED: 6, AWAY: 7, HERE: 8 };

const BLUE = "#0072B2", ORANGE = "#E69F00", GREEN = "#009E73", RED = "#D55E00", PURPLE = "#CC79A7", GREY = "#6b7280";
// How a token looks: fill, or only an outline (dashed or not), and a sign, so that colour is never alone.
const LOOKS = {
  [S.SENT]: { word: "sent", line: BLUE },
  [S.BLOCKED]: { word: "sender waits", fill: GREY, ink: "#fff", sign: "pause" },
  [S.READY]: { word: "ready", fill: BLUE, ink: "#fff" },
  [S.DELAYED]: { word: "delayed before the next attempt", line: BLUE, dash: true, sign: "pause" },
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
  ["waiting", GREY, [S.BLOCKED]], ["ready", BLUE, [S.READY, S.DELAYED]], ["in flight", ORANGE, [S.IN_FLIGHT]],
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
    const half = (low + high) >> 1;
    if (values[half] <= value) low = half + 1; else high = half;
  }
  return low - 1;
};
const seconds = (value, end) => value.toFixed(end < 1000 ? 3 : 1) + " s";

/** Fill a rectangle with slanting lines. */
const hatch = (c, x, y, w, h, colour) => {
  c.save();
  c.beginPath();
  c.rect(x, y, w, h);
  c.clip();
  c.beginPath();
  for (let d = -h; d < w; d += 8) { c.moveTo(x + d, y + h); c.lineTo(x + d + h, y); }
  c.strokeStyle = colour;
  c.lineWidth = 1;
  c.stroke();
  c.restore();
};

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
    this.away = this.boxes.map(() => false);
    this.effects = this.boxes.map(() => 0);
    this.flash = this.boxes.map(() => null);
  }

  /** What the strip below the stage draws: how many tokens wait, are ready and in flight. */
  measure() {
    this.ready = new Int32Array(this.length);
    this.flying = new Int32Array(this.length);
    this.waiting = new Int32Array(this.length);
    this.used = this.boxes.map(() => new Set());
    this.rewind();
    let ready = 0, flying = 0, waiting = 0, move = 0;
    const state = new Int32Array(this.tokens.length).fill(S.GONE);
    for (let i = 0; i < this.length; i++) {
      for (; move < this.moves.length && this.moves[move][0] === i; move++) {
        const [, token, , to] = this.moves[move], from = state[token];
        ready += (to === S.READY || to === S.DELAYED) - (from === S.READY || from === S.DELAYED);
        flying += (to === S.IN_FLIGHT || to === S.RECEIVED) - (from === S.IN_FLIGHT || from === S.RECEIVED);
        waiting += (to === S.BLOCKED) - (from === S.BLOCKED);
        state[token] = to;
        const home = this.tokens[token][1];
        if (home >= 0) this.used[home].add(to);
      }
      this.ready[i] = ready;
      this.flying[i] = flying;
      this.waiting[i] = waiting;
    }
  }

  /** The times of which a box is away, as [box, from, to]. */
  absences() {
    const found = [], since = new Map();
    for (const [event, box, mark] of this.marks) {
      if (mark === MARK.AWAY) since.set(box, this.at[event]);
      else if (mark === MARK.HERE && since.has(box)) { found.push([box, since.get(box), this.at[event]]); since.delete(box); }
    }
    return [...found, ...[...since].map(([box, from]) => [box, from, this.end])];
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
      else if (mark === MARK.AWAY || mark === MARK.HERE) this.away[box] = mark === MARK.AWAY;
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
    c.fillRect(this.x(now) - 1, 17, 2, this.height - 17); // below the words
  }

  paint() {
    this.still = element("canvas");
    this.still.width = this.canvas.width;
    this.still.height = this.canvas.height;
    const c = this.still.getContext("2d"), { film } = this.stage, base = this.height - 2;
    const ratio = this.still.width / this.width;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    let most = 1;
    const whole = (i) => film.ready[i] + film.flying[i] + film.waiting[i];
    for (let i = 0; i < film.length; i++) most = Math.max(most, whole(i));
    const y = (n) => base - n / most * (base - 17);
    const ready = film.ready, all = (i) => film.ready[i] + film.flying[i];
    this.band(c, film, () => base, (i) => y(ready[i]), BLUE);
    this.band(c, film, (i) => y(ready[i]), (i) => y(all(i)), ORANGE);
    this.band(c, film, (i) => y(all(i)), (i) => y(whole(i)), GREY);
    c.fillStyle = this.stage.line;
    c.fillRect(8, base, this.width - 16, 1);
    this.markAbsences(c, film);
    this.markCrashes(c, film);
    c.font = FONT;
    c.textBaseline = "top";
    c.fillStyle = this.stage.soft;
    c.fillText(this.legend(film, most), 10, 1);
  }

  legend(film, most) {
    const said = [`${film.waiting.some(Boolean) ? "waiting, " : ""}ready and in flight over ${seconds(film.end, 1e9)}, at most ${most}`];
    const away = new Set(film.absences().map(([box]) => film.boxes[box][0]));
    if (film.marks.some(([, , mark]) => mark === MARK.CRASHED)) said.push("× a crash");
    if (away.size) said.push(`hatched: ${[...away].join(", ")} away`);
    return said.join(" · ");
  }

  markAbsences(c, film) {
    for (const [, from, to] of film.absences()) hatch(c, this.x(from), 17, this.x(to) - this.x(from), this.height - 19, this.stage.soft);
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
