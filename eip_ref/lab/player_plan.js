// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, stage, player. Plain JavaScript: nothing to build, nothing to fetch.

/** Where everything stands, in pixels, for one width. */
class Plan {
  constructor(film, width, measureText) {
    this.film = film;
    this.text = measureText;
    this.width = Math.max(width, 340);
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
