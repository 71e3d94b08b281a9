// <apollo-player>: figures of several sounds of one recording become a player that switches between them. Without this
// script, or where a browser cannot decode them, the figures stay what they are: pictures above plain players.
const LETTERS = ["A", "B"];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const clock = (seconds) => {
  const whole = Math.max(0, seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const rest = (whole % 60).toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};

let heard = null; // the player that sounds; another one stops it

class ApolloPlayer extends HTMLElement {
  connectedCallback() {
    if (this.engine || !(window.AudioContext || window.webkitAudioContext)) return;
    this.figures = [...this.querySelectorAll("figure")];
    const data = this.dataset;
    this.about = {
      rate: Number(data.rate), samples: Number(data.samples), chunk: Number(data.chunk), lead: Number(data.lead),
      repeats: "repeats" in data,
    };
    this.seconds = this.about.samples / this.about.rate;
    const all = this.figures.map((figure) => ({
      figure, name: figure.dataset.name, gain: Number(figure.dataset.gain), level: Number(figure.dataset.level),
      cutoff: Number(figure.dataset.cutoff) || null, spectrum: JSON.parse(figure.dataset.spectrum || "[]"),
      chunks: [...figure.querySelectorAll("audio")].map((audio) => audio.getAttribute("src")),
    }));
    this.sounds = all.filter((sound) => sound.chunks.length);
    this.all = all; // the difference has a picture, and no sound of its own
    this.top = Number(data.top);
    this.engine = new Engine(this.about, this.sounds.map((sound) => sound.chunks));
    const first = Number(data.first) || 1;
    this.pair = [0, first];
    this.chosen = first; // an index of sounds, "D" or "X"
    this.zoom = 1;
    this.test = null;
    this.build();
    this.choose(first);
    this.addEventListener("keydown", (event) => this.key(event));
  }

  disconnectedCallback() {
    if (this.engine) this.engine.close();
  }

  build() {
    this.classList.add("live");
    this.style.setProperty("--rows", this.all.length);
    const button = (label, action, more = {}) => make("button", { type: "button", onclick: action, ...more }, label);
    this.playButton = button("", () => this.toggle(), { class: "play", "aria-label": words.play });
    this.playButton.innerHTML =
      '<svg viewBox="0 0 16 16" aria-hidden="true"><path class="to-play" d="M4 2.5v11l9-5.5z"/><path class="to-stop" d="M4 3h3v10H4zM9 3h3v10H9z"/></svg>';
    this.switches = new Map();
    const group = make("div", { class: "switch", role: "group", "aria-label": words.sounds });
    this.sounds.forEach((sound, n) => this.addSwitch(group, n, sound.name));
    this.addSwitch(group, "D", words.difference);
    this.addSwitch(group, "X", "X");
    this.match = make("input", { type: "checkbox", checked: true, onchange: () => this.choose(this.chosen) });
    this.matches = this.sounds.some((sound) => Math.abs(20 * Math.log10(sound.gain)) >= 0.1);
    const matching = make("label", { class: "match", hidden: !this.matches }, this.match, words.match);
    this.time = make("span", { class: "time", "aria-hidden": "true" });
    this.trouble = make("p", { class: "trouble", role: "status" });
    const bar = make("div", { class: "bar" }, this.playButton, group, matching, this.time, this.trouble);

    this.axis = make("div", { class: "axis", "aria-hidden": "true" });
    this.strip = make("div", { class: "strip" }, ...this.figures, this.axis);
    this.head = make("span", { class: "head" });
    this.selection = make("span", { class: "selection", hidden: true });
    this.strip.append(this.selection, this.head);
    this.scroller = make("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": words.pictures }, this.strip);
    this.pointer();
    this.figures.forEach((figure, n) => this.dress(figure, this.all[n]));
    this.slider = make("input", {
      type: "range", min: 0, max: this.about.samples - 1, value: 0, step: 1, class: "slider", "aria-label": words.position,
      oninput: () => this.engine.seek(Number(this.slider.value)).then(() => this.draw()),
    });
    const tools = make(
      "div", { class: "tools" },
      button("−", () => this.setZoom(this.zoom / 2), { "aria-label": words.zoomOut, title: words.zoomOut }),
      button("+", () => this.setZoom(this.zoom * 2), { "aria-label": words.zoomIn, title: words.zoomIn }),
      button(`[ ${words.from}`, () => this.setEdge(0)), button(`${words.to} ]`, () => this.setEdge(1)),
      (this.whole = button(words.whole, () => this.setLoop(null), { hidden: true })),
      make("span", { class: "hint" }, words.drag),
    );
    const scale = make(
      "p", { class: "scale" }, `−${this.dataset.range} dB`, make("span", { class: "colours", "aria-hidden": "true" }), `0 dB · ${words.scale}`,
    );
    this.prepend(bar, this.scroller, this.slider, scale, tools);
    this.tickTime();
    if (this.sounds.length > 2) bar.after(this.pairs());
    this.append(curves(this.all, this.top), this.blind(), this.help());
    this.draw();
  }

  addSwitch(group, key, name) {
    const letter = key === "D" || key === "X" ? key : LETTERS[key];
    const short = this.sounds.length > 2 && typeof key === "number" ? String(key + 1) : letter;
    const label = name === short ? [make("b", {}, short)] : [make("b", { "aria-hidden": "true" }, short), ` ${name}`];
    const button = make(
      "button",
      { type: "button", title: name, "aria-pressed": "false", hidden: key === "X", onclick: () => this.choose(key) }, ...label,
    );
    this.switches.set(key, button);
    group.append(button);
  }

  // With more than two sounds: which two the difference and the blind test are of.
  pairs() {
    const select = (n) => make(
      "select", { "aria-label": n ? words.with : words.pair, onchange: (event) => {
        this.pair[n] = Number(event.target.value);
        this.choose(this.chosen);
      } },
      ...this.sounds.map((sound, i) => make("option", { value: i, selected: i === this.pair[n] }, sound.name)),
    );
    return make("p", { class: "pair" }, `D, A, B: `, select(0), select(1));
  }

  dress(figure, sound) {
    const picture = figure.querySelector(".picture");
    if (!sound.chunks.length) figure.querySelector("figcaption b").textContent = sound.name = words.difference;
    for (let khz = 5; khz * 1000 < this.top; khz += 5) {
      picture.append(make("i", { class: "tick", style: `bottom:${(khz * 100000) / this.top}%` }, `${khz} kHz`));
    }
    if (sound.cutoff && sound.cutoff < 0.97 * this.top) {
      const text = `${words.cutoff} ${(sound.cutoff / 1000).toFixed(1)} kHz`;
      picture.append(make("i", { class: "cutoff", style: `bottom:${(100 * sound.cutoff) / this.top}%` }, text));
    }
  }

  choose(key) {
    if (this.test === null && key === "X") return;
    this.chosen = key;
    const n = key === "X" ? this.pair[this.test.secret] : key;
    const [a, b] = this.pair;
    const matched = (i) => (this.match.checked || this.test ? this.sounds[i].gain : 1);
    this.engine.mix(this.sounds.map((sound, i) => {
      if (key === "D") return a === b ? 0 : (i === b ? sound.level : 0) - (i === a ? sound.level : 0);
      return i === n ? matched(i) : 0;
    }));
    for (const [other, button] of this.switches) button.setAttribute("aria-pressed", String(other === key));
    this.all.forEach((sound, i) => sound.figure.classList.toggle("heard", i === key || (key === "D" && !sound.chunks.length)));
  }

  step(by) {
    const order = [...this.switches.keys()].filter((key) => !this.switches.get(key).hidden);
    this.choose(order[(order.indexOf(this.chosen) + by + order.length) % order.length]);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=number]")) return;
    const name = event.key.length === 1 ? event.key.toUpperCase() : event.key;
    const onSlider = event.target === this.slider;
    const onButton = event.target.matches("button, summary, input[type=checkbox]");
    const span = Math.min(5, this.seconds / 20) * this.about.rate;
    const go = (by) => this.engine.seek(this.engine.position + by).then(() => this.draw());
    const actions = {
      A: () => this.choose(this.pair[0]), B: () => this.choose(this.pair[1]),
      D: () => this.test === null && this.choose("D"), X: () => this.choose("X"),
      "[": () => this.setEdge(0), "]": () => this.setEdge(1), "0": () => this.setLoop(null),
      "+": () => this.setZoom(this.zoom * 2), "=": () => this.setZoom(this.zoom * 2), "-": () => this.setZoom(this.zoom / 2),
      ArrowUp: () => this.step(-1), ArrowDown: () => this.step(1), ArrowLeft: () => go(-span), ArrowRight: () => go(span),
    };
    if (!onButton) actions[" "] = () => this.toggle(); // a button that has the focus is pressed by it
    if (this.test) Object.assign(actions, { 1: () => this.answer(0), 2: () => this.answer(1) });
    else this.sounds.forEach((_, n) => { actions[n + 1] = () => this.choose(n); });
    if (onSlider && name.startsWith("Arrow") && name !== "ArrowUp" && name !== "ArrowDown") return;
    if (!actions[name]) return;
    event.preventDefault();
    actions[name]();
  }

  async toggle() {
    if (this.engine.playing) this.engine.stop();
    else {
      if (heard && heard !== this) heard.engine.stop();
      heard = this;
      try {
        await this.engine.play();
      } catch (error) {
        console.error(error);
        this.trouble.textContent = words.undecodable;
        this.classList.add("plain");
      }
    }
    this.draw();
  }

  setEdge(which) {
    const now = this.engine.position, loop = this.engine.loop || [0, this.about.samples];
    this.setLoop(which ? [Math.min(loop[0], now), now] : [now, Math.max(loop[1], now)]);
  }

  setLoop(loop) {
    const shortest = Math.min(0.2 * this.about.rate, this.about.samples);
    if (loop && loop[1] - loop[0] < shortest) loop = [Math.max(0, Math.min(loop[0], this.about.samples - shortest)), loop[0] + shortest];
    if (loop) loop = [Math.round(loop[0]), Math.min(Math.round(loop[1]), this.about.samples)];
    this.selection.hidden = this.whole.hidden = loop === null;
    if (loop) {
      this.selection.style.left = `${(100 * loop[0]) / this.about.samples}%`;
      this.selection.style.width = `${(100 * (loop[1] - loop[0])) / this.about.samples}%`;
    }
    return this.engine.setLoop(loop);
  }

  setZoom(zoom) {
    const old = this.zoom, box = this.scroller, middle = (box.scrollLeft + box.clientWidth / 2) / old;
    this.zoom = Math.min(Math.max(1, zoom), Math.max(1, 2 ** Math.ceil(Math.log2(this.seconds / 2))), 64);
    this.strip.style.width = `${100 * this.zoom}%`;
    box.scrollLeft = middle * this.zoom - box.clientWidth / 2;
    this.tickTime();
  }

  // Times under the pictures, about eight in what is seen of them.
  tickTime() {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
    const step = steps.find((each) => each >= this.seconds / this.zoom / 8) || 14400;
    const digits = step < 1 ? 1 : 0, ticks = [];
    for (let n = 0; n * step < this.seconds - step / 3; n++) {
      const text = this.seconds < 100 ? `${(n * step).toFixed(digits)} s` : clock(n * step);
      ticks.push(make("i", { style: `left:${(100 * n * step) / this.seconds}%` }, text));
    }
    this.axis.replaceChildren(...ticks);
  }

  pointer() {
    let begun = null;
    const place = (event) => {
      const box = this.strip.getBoundingClientRect();
      return (Math.min(Math.max(0, (event.clientX - box.left) / box.width), 1)) * this.about.samples;
    };
    this.strip.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && event.target.closest(".picture")) begun = { x: event.clientX, place: place(event), event };
    });
    this.strip.addEventListener("pointermove", (event) => {
      // A finger moves the pictures; a mouse or a pen selects.
      if (!begun || event.pointerType === "touch" || Math.abs(event.clientX - begun.x) < 4) return;
      this.strip.setPointerCapture(event.pointerId);
      this.setLoop([begun.place, place(event)].sort((a, b) => a - b));
      begun.dragged = true;
    });
    this.strip.addEventListener("pointerup", (event) => {
      if (!begun) return;
      if (begun.dragged) this.engine.seek(this.engine.loop[0]);
      else {
        if (this.test === null) {
          const row = this.all.find((sound) => sound.figure.contains(begun.event.target));
          this.choose(row.chunks.length ? this.sounds.indexOf(row) : "D");
        }
        this.engine.seek(place(event)).then(() => this.draw());
      }
      begun = null;
    });
    this.strip.addEventListener("pointercancel", () => { begun = null; });
    this.strip.addEventListener("dragstart", (event) => event.preventDefault());
  }

  draw() {
    const now = this.engine.position, part = now / this.about.samples;
    this.classList.toggle("playing", this.engine.playing);
    this.playButton.setAttribute("aria-label", this.engine.playing ? words.stop : words.play);
    this.time.textContent = `${clock(now / this.about.rate)} / ${clock(this.seconds)}`;
    this.head.style.left = `${100 * part}%`;
    if (document.activeElement !== this.slider || this.engine.playing) this.slider.value = now;
    this.slider.setAttribute("aria-valuetext", this.time.textContent);
    if (this.engine.playing && this.zoom > 1) {
      const box = this.scroller, x = part * box.scrollWidth;
      if (x < box.scrollLeft || x > box.scrollLeft + box.clientWidth) box.scrollLeft = x - 0.1 * box.clientWidth;
    }
    if (this.engine.playing && !this.drawing) {
      this.drawing = true;
      requestAnimationFrame(() => { this.drawing = false; this.draw(); });
    }
  }

  blind() {
    this.rounds = make("input", { type: "number", min: 1, max: 100, value: 10 });
    this.result = make("p", { class: "result", role: "status" });
    const button = (label, action) => make("button", { type: "button", onclick: action }, label);
    this.setup = make("p", { class: "setup" }, make("label", {}, `${words.rounds} `, this.rounds), button(words.start, () => this.startTest()));
    this.roundText = make("b", { role: "status" });
    this.asked = make(
      "p", { class: "asked", hidden: true }, this.roundText, button(words.isA, () => this.answer(0)),
      button(words.isB, () => this.answer(1)), button(words.end, () => this.endTest()), make("span", { class: "hint" }, words.blindKeys),
    );
    return make("details", { class: "blind" }, make("summary", {}, words.blind), make("p", { class: "hint" }, words.blindText),
      this.setup, this.asked, this.result);
  }

  startTest() {
    if (this.pair[0] === this.pair[1]) return;
    this.test = new BlindTest(Math.min(Math.max(1, Math.round(Number(this.rounds.value)) || 10), 100));
    this.result.textContent = "";
    this.arrange();
    this.scroller.focus({ preventScroll: true });
    if (!this.engine.playing) this.toggle();
  }

  // During a test A and B are the pair, nothing else is on offer, and the difference would give X away.
  arrange() {
    const testing = this.test !== null;
    this.classList.toggle("testing", testing);
    for (const [key, button] of this.switches) button.hidden = testing ? !(key === "X" || this.pair.includes(key)) : key === "X";
    this.asked.hidden = !testing;
    this.setup.hidden = testing;
    if (testing) this.roundText.textContent = words.round(this.test.answers.length + 1, this.test.rounds);
    this.choose(testing ? "X" : this.pair[1]);
  }

  answer(n) {
    this.test.answer(n);
    if (this.test.over) this.endTest();
    else this.arrange();
  }

  endTest() {
    const { right, answers, p, over } = this.test;
    this.test = null;
    this.arrange();
    if (!answers.length) return;
    const marks = answers.map((good) => (good ? "✓" : "✗")).join(" ");
    const shown = p < 0.0001 ? "< 0.0001" : p.toPrecision(2);
    const verdict = over ? ` ${p < 0.05 ? words.heard : words.unheard}` : ` ${words.early}`;
    this.result.textContent = `${words.score(right, answers.length, shown).replace("= <", "<")} (${marks}).${verdict}`;
  }

  help() {
    return make("details", { class: "keys" }, make("summary", {}, words.keys), make("p", {}, words.keysText));
  }
}

if (!customElements.get("apollo-player")) customElements.define("apollo-player", ApolloPlayer);
