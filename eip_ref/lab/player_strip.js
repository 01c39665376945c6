// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, brush, picture, stage, strip, panel, player. Plain JavaScript: nothing to build, nothing to fetch.

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
    const whole = (i) => film.ready[i] + film.flying[i] + film.waiting[i];
    for (let i = 0; i < film.length; i++) most = Math.max(most, whole(i));
    const y = (n) => base - n / most * (base - 17);
    const ready = film.ready, all = (i) => film.ready[i] + film.flying[i];
    this.band(c, film, () => base, (i) => y(ready[i]), BLUE);
    this.band(c, film, (i) => y(ready[i]), (i) => y(all(i)), ORANGE);
    this.band(c, film, (i) => y(all(i)), (i) => y(whole(i)), GREY);
    c.fillStyle = this.stage.line;
    c.fillRect(8, base, this.width - 16, 1);
    this.markCrashes(c, film);
    c.font = FONT;
    c.textBaseline = "top";
    c.fillStyle = this.stage.soft;
    c.fillText(`${film.waiting.some(Boolean) ? "waiting, " : ""}ready and in flight over ${seconds(film.end, 1e9)}, at most ${most}`, 10, 1);
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
