// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, brush, picture, stage, strip, panel, player. Plain JavaScript: nothing to build, nothing to fetch.

/** The clock that drives the stage, and what keys, pointers and new traces do to it. */
class Player extends Panel {
  constructor(model, el) {
    super(model, el);
    this.playing = false;
    this.touched = false;
    this.wire();
    this.load();
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
    this.caption.replaceChildren(element("b", {}, seconds(film.at[this.index], film.end)), " ", film.say[this.index]);
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
