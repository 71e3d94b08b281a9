// Players: all versions of a clip run at once, and all but one are silent, so that switching keeps the very sample.
(() => {
  "use strict";
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!Context) return;
  document.documentElement.classList.add("script");
  let context = null;
  let current = null;

  const bytes = (uri) => Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (c) => c.charCodeAt(0)).buffer;

  class Player {
    constructor(clip) {
      this.clip = clip;
      this.figures = [...clip.querySelectorAll("figure")];
      this.radios = [...clip.querySelectorAll("input[type=radio]")];
      this.button = clip.querySelector(".play");
      this.time = clip.querySelector(".time");
      this.trouble = clip.querySelector(".trouble");
      this.buffers = null;
      this.loading = null;
      this.sources = [];
      this.gains = [];
      this.position = 0;
      this.startedAt = 0;
      this.button.addEventListener("click", () => this.toggle());
      this.radios.forEach((radio) => radio.addEventListener("change", () => this.choose(Number(radio.value))));
      this.figures.forEach((figure, n) =>
        figure.querySelector(".picture").addEventListener("click", (event) => {
          const box = event.currentTarget.getBoundingClientRect();
          this.radios[n].checked = true;
          this.choose(n);
          this.seek((event.clientX - box.left) / box.width);
        }));
      clip.addEventListener("keydown", (event) => this.key(event));
      this.choose(this.chosen);
    }

    get chosen() { return Math.max(0, this.radios.findIndex((radio) => radio.checked)); }
    get playing() { return this.sources.length > 0; }
    get duration() { return this.buffers ? this.buffers[0].duration : 0; }
    get now() { return this.playing ? (context.currentTime - this.startedAt) % this.duration : this.position; }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const n = Number(event.key) - 1;
      if (event.key === " " && event.target !== this.button) {
        event.preventDefault();
        this.toggle();
      } else if (n >= 0 && n < this.radios.length) {
        this.radios[n].checked = true;
        this.radios[n].focus();
        this.choose(n);
      } else if (event.target === this.button && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
        event.preventDefault();
        const step = event.key === "ArrowRight" ? 1 : this.radios.length - 1;
        const next = (this.chosen + step) % this.radios.length;
        this.radios[next].checked = true;
        this.choose(next);
      }
    }

    choose(n) {
      this.figures.forEach((figure, i) => figure.classList.toggle("heard", i === n));
      // 10 ms: no click, and too short to hear both.
      this.gains.forEach((gain, i) => gain.gain.setTargetAtTime(i === n ? 1 : 0, context.currentTime, 0.003));
    }

    load() {
      this.loading ||= Promise.all(this.figures.map((figure) =>
        context.decodeAudioData(bytes(figure.querySelector("audio").getAttribute("src")))
      )).then((buffers) => { this.buffers = buffers; });
      return this.loading;
    }

    async toggle() {
      if (this.playing) this.stop();
      else await this.play();
    }

    async play() {
      context ||= new Context();
      try {
        const ready = context.resume();
        await this.load();
        await ready;
      } catch {
        this.trouble.textContent = "This browser cannot decode the clip here; the players below may.";
        this.clip.classList.add("plain");
        return;
      }
      if (this.playing) return;
      if (current && current !== this) current.stop();
      current = this;
      const at = context.currentTime + 0.02;
      this.startedAt = at - this.position;
      this.buffers.forEach((buffer, n) => {
        const source = context.createBufferSource();
        const gain = context.createGain();
        source.buffer = buffer;
        source.loop = true;
        gain.gain.value = n === this.chosen ? 1 : 0;
        source.connect(gain).connect(context.destination);
        source.start(at, this.position);
        this.sources.push(source);
        this.gains.push(gain);
      });
      this.clip.classList.add("playing", "started");
      this.button.setAttribute("aria-label", "Stop");
      this.draw();
    }

    stop() {
      this.position = Math.max(0, this.now);
      this.sources.forEach((source) => source.stop());
      this.sources = [];
      this.gains = [];
      this.clip.classList.remove("playing");
      this.button.setAttribute("aria-label", "Play");
    }

    async seek(part) {
      if (this.playing) this.stop();
      context ||= new Context();
      await this.load().catch(() => {});
      if (this.buffers) this.position = Math.min(Math.max(part, 0), 0.999) * this.duration;
      await this.play();
    }

    draw() {
      const now = Math.max(0, this.now);
      this.time.textContent = now.toFixed(1) + " s";
      this.figures.forEach((figure) => {
        figure.querySelector(".head").style.left = (100 * now) / this.duration + "%";
      });
      if (this.playing) requestAnimationFrame(() => this.draw());
    }
  }

  document.querySelectorAll(".clip").forEach((clip) => new Player(clip));
})();
