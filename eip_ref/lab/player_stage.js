// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, brush, picture, stage, strip, panel, player. Plain JavaScript: nothing to build, nothing to fetch.

/** Draws one moment of a film on a canvas, and lets the tokens glide to where they belong. */
class Stage extends Picture {
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
}
