// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, brush, picture, stage, strip, panel, player. Plain JavaScript: nothing to build, nothing to fetch.

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
      let cut = text;
      while (cut.length > 1 && this.textWidth(cut === text ? cut : cut + "…") > room) cut = cut.slice(0, -1);
      this.cut.set(key, cut === text ? text : cut + "…");
    }
    return this.cut.get(key);
  }
}
