// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, stage, player. Plain JavaScript: nothing to build, nothing to fetch.

/** Draws shapes and words on a canvas, in the colours of the page. */
class Brush {
  constructor(canvas, root) {
    this.canvas = canvas;
    this.root = root;
    this.context = canvas.getContext("2d");
    this.widths = new Map();
    this.cut = new Map();
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

  /** How wide a text is in the usual font. */
  textWidth(text) {
    if (!this.widths.has(text)) {
      this.context.font = FONT;
      this.widths.set(text, this.context.measureText(text).width);
    }
    return this.widths.get(text);
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
      let cut = text; // in the middle: names that begin alike differ in the end
      for (let left = text.length - 1; left > 0 && this.textWidth(cut) > room; left--) {
        cut = text.slice(0, Math.ceil(left / 2)) + "…" + text.slice(text.length - Math.floor(left / 2));
      }
      this.cut.set(key, cut);
    }
    return this.cut.get(key);
  }
}

// The height at which an arrow meets a pipe or a box.
const middle = (r) => (r.channel ? r.y + r.top + r.pipe / 2 : r.y + r.h / 2);

/** Draws one moment of a film on a canvas, and lets the tokens glide to where they belong. */
class Stage extends Brush {
  constructor(canvas, root) {
    super(canvas, root);
    this.reduced = matchMedia("(prefers-reduced-motion: reduce)");
    this.selected = -1;
  }

  show(film, width) {
    this.film = film;
    this.visible = [];
    const n = film.tokens.length;
    this.px = new Float64Array(n).fill(NaN);
    this.py = new Float64Array(n);
    this.vx = new Float64Array(n);
    this.vy = new Float64Array(n);
    this.tx = new Float64Array(n);
    this.ty = new Float64Array(n);
    this.labels = film.tokens.map(([message]) => film.messages[message]);
    this.resize(width);
  }

  resize(width) {
    this.plan = new Plan(this.film, width, (text) => this.textWidth(text));
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

  // The parts of the picture

  drawArrows() {
    const c = this.context;
    c.strokeStyle = c.fillStyle = this.line;
    c.lineWidth = 1.5;
    for (const [a, b] of this.film.arrows) {
      const from = this.plan.rects[a], to = this.plan.rects[b];
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
    const c = this.context, r = this.plan.rects[i], film = this.film, down = film.crashed[i], away = film.away[i] && !down;
    c.globalAlpha = down ? 0.75 : 1;
    this.round(r.x, r.y, r.w, r.h, 6);
    c.fillStyle = this.boxFill;
    c.fill();
    c.lineWidth = 1.5;
    c.strokeStyle = down ? RED : this.line;
    c.setLineDash(down || away ? [5, 4] : []);
    c.stroke();
    c.setLineDash([]);
    if (away) hatch(c, r.x + 1, r.y + r.top, r.w - 2, r.h - r.top - 20, this.line);
    this.drawFlash(i, beat);
    r.lines.forEach((line, n) => this.write(line, r.x + 8, r.y + 12 + 15 * n, r.w - 16, BOLD, down || away ? this.soft : this.ink));
    const text = this.footer(i);
    if (text && r.tight) this.write(text, r.x + r.w - 6 - this.textWidth(text), r.y + r.h - 13, 60, FONT, this.soft);
    else if (text) this.write(text, r.x + 8, r.y + r.h - 11, r.w - 16, FONT, this.soft);
    if (down) this.drawCross(r);
    c.globalAlpha = 1;
  }

  footer(i) {
    if (this.film.crashed[i]) return this.plan.rects[i].tight ? "" : "crashed";
    if (this.film.away[i]) return "away";
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
}
