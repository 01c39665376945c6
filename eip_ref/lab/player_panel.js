// A part of the player's browser half; player.py puts the parts together, in this order:
// film, plan, brush, picture, stage, strip, panel, player. Plain JavaScript: nothing to build, nothing to fetch.

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

/** Everything that is seen: the stage, its controls and its words. `Player` makes it move. */
class Panel {
  constructor(model, el) {
    this.model = model;
    this.speed = model.get("speed");
    this.build(el);
    this.stage = new Stage(this.canvas, this.root);
    this.strip = new Strip(this.stripCanvas, this.stage);
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
    const shown = [...new Set(this.stage.visible.map((t) => this.film.tokens[t][0]))].toSorted((a, b) => a - b);
    if (!shown.length) return;
    const at = shown.indexOf(this.stage.selected);
    this.select(shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : (at + by + shown.length) % shown.length]);
  }
}
