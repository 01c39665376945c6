// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, stage, player. Plain JavaScript: nothing to build, nothing to fetch.

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

/** The stage with its controls and its words, and the clock that drives it. */
class Player {
  constructor(model, el) {
    this.model = model;
    this.speed = model.get("speed");
    this.build(el);
    this.stage = new Stage(this.canvas, this.root);
    this.strip = new Strip(this.stripCanvas, this.stage);
    this.playing = false;
    this.touched = false;
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
      ...[...new Set([...SPEEDS, this.speed])].toSorted((a, b) => a - b).map((s) => element("option", { value: s }, `${s}×`)));
    this.speedSelect.value = this.speed;
    this.picker = element("select", { onchange: () => this.select(Number(this.picker.value)) });
    this.history = element("div", { class: "eip-history", hidden: "" });
    this.legend = element("ul", { class: "eip-legend", "aria-label": "What the tokens mean" });
    this.told = element("div", { class: "eip-unseen", role: "status", "aria-live": "polite" });
    const key = (...names) => names.map((name) => element("kbd", {}, name));
    this.help = element("div", { class: "eip-keys", id: `eip-${crypto.getRandomValues(new Uint32Array(2)).join("-")}` },
      "Keys: ", ...key("Space"), " play or pause, ", ...key("←", "→"), " one event, ", ...key("Home", "End"),
      " start and end, ", ...key("↑", "↓"), " a message and its history, ", ...key("Esc"), " hides it");
    this.canvas.setAttribute("aria-describedby", this.help.id);
    this.controls = element("div", { class: "eip-controls", role: "group", "aria-label": "Playback" },
      button("first", "To the start", () => this.go(0)), button("back", "Previous event", () => this.step(-1)),
      this.playButton, button("next", "Next event", () => this.step(1)),
      button("last", "To the end", () => this.go(Infinity)), this.clock,
      element("span", { class: "eip-more" }, element("label", { class: "eip-of" }, "History", this.picker),
        element("label", {}, "Speed", this.speedSelect)));
    this.scroll = element("div", { class: "eip-scroll" }, this.canvas);
    this.root = element("div", { class: "eip-player", "data-lm-suppress-shortcuts": "true" }, this.title, this.scroll,
      this.caption, this.stripCanvas, this.slider, this.controls, this.help, this.legend, this.history, this.told);
    el.append(this.root);
  }

  entitle() {
    const title = this.model.get("title");
    this.title.textContent = title;
    this.title.hidden = !title;
    this.canvas.setAttribute("aria-label", `${title ? title + ". " : ""}${this.model.get("description")}`);
    this.root.setAttribute("aria-label", title || "Player");
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
      const brush = new Brush(swatch, this.root);
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

  wire() {
    this.abort = new AbortController();
    const on = (target, name, act) => target.addEventListener(name, act, { signal: this.abort.signal });
    this.slider.addEventListener("input", () => this.scrub(this.slider.value / 1000));
    on(this.stripCanvas, "pointerdown", (event) => { this.stripCanvas.setPointerCapture(event.pointerId); this.scrubAt(event); });
    on(this.stripCanvas, "pointermove", (event) => { if (event.buttons) this.scrubAt(event); });
    on(this.root, "keydown", (event) => this.key(event));
    on(this.canvas, "pointermove", (event) => this.hover(event));
    on(this.canvas, "pointerleave", () => this.point(this.stage.selected));
    on(this.canvas, "click", (event) => this.select(this.messageAt(event)));
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
    this.point(...this.pointed);
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
    const { target } = event, own = target.matches("button, select"); // a button takes Space, a list the arrows
    const steps = !target.matches("select"), chooses = steps && target !== this.slider;
    const acts = {
      " ": !own && (() => this.toggle()),
      ArrowRight: steps && (() => this.step(1)), ArrowLeft: steps && (() => this.step(-1)),
      Home: steps && (() => this.go(0)), End: steps && (() => this.go(Infinity)),
      ArrowDown: chooses && (() => this.choose(1)), ArrowUp: chooses && (() => this.choose(-1)),
      Escape: () => this.select(-1),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  // The history of a message

  messageAt(event) {
    const t = this.stage.tokenAt(event.offsetX, event.offsetY);
    return t < 0 ? -1 : this.film.tokens[t][0];
  }

  hover(event) {
    const message = this.messageAt(event);
    const box = message < 0 ? this.stage.boxAt(event.offsetX, event.offsetY) : -1;
    this.canvas.title = box >= 0 ? this.film.boxes[box][0] : "";
    this.canvas.style.cursor = message < 0 ? "default" : "pointer";
    if (message < 0) this.point(this.stage.selected);
    else this.point(message, event.offsetX);
  }

  select(message) {
    this.stage.selected = message;
    this.picker.value = message;
    this.point(message);
    this.told.textContent = message < 0 ? "" : this.history.innerText;
    this.wake();
  }

  story(message) {
    const { film } = this, lines = [];
    for (let i = 0; i <= this.index; i++) if (film.about[i] === message) lines.push([seconds(film.at[i], film.end), film.say[i]]);
    return lines;
  }

  /** Show the history of this message, as far as it has come, until another one is pointed at. */
  point(message, x = 0) {
    this.pointed = [message, x];
    if (message < 0) { this.history.hidden = true; return; }
    const [id, label] = this.film.messages[message], lines = this.story(message), later = this.film.about.filter((m, i) => m === message && i > this.index).length;
    const shown = lines.slice(-12).map(([at, say]) => element("li", {}, element("span", {}, at), element("span", {}, say)));
    const more = later ? element("span", {}, `${later} more to come`) : "";
    this.history.replaceChildren(element("strong", {}, label === id ? id : `${label} (${id})`), element("ol", {}, ...shown), more);
    this.history.hidden = false;
    const left = clamp(x - 40, 4, Math.max(4, this.root.clientWidth - this.history.offsetWidth - 8));
    this.history.style.left = left + "px";
    this.history.style.top = this.legend.offsetTop + "px"; // what is above, words and controls, stays to be seen
  }

  choose(by) {
    const shown = [...new Set(this.stage.visible.map((t) => this.film.tokens[t][0]))].toSorted((a, b) => a - b);
    if (!shown.length) return;
    const at = shown.indexOf(this.stage.selected);
    this.select(shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : (at + by + shown.length) % shown.length]);
  }
}

export default {
  render({ model, el }) {
    const player = new Player(model, el);
    el.eipPlayer = player; // for the browser tests
    return () => player.destroy();
  },
};
