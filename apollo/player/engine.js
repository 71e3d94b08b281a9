// Plays several sounds at once, all but one silent, so that switching keeps the very sample. Recordings come
// in chunks that are fetched and decoded shortly before they are heard: an hour takes no more memory than a minute.
const AHEAD = 3; // seconds that are scheduled before they are heard
const FADE = 0.003; // seconds: no click, and too short to hear two sounds

class Engine {
  constructor(about, sounds) {
    this.rate = about.rate;
    this.samples = about.samples;
    this.chunk = about.chunk;
    this.lead = about.lead; // samples that precede what is heard in every chunk but the first, for codecs that need a run-up
    this.repeats = about.repeats;
    this.sounds = sounds; // of each, the addresses of its chunks
    this.loop = null; // [first sample, sample after the last]
    this.levels = sounds.map((_, n) => (n ? 0 : 1));
    this.decoded = new Map();
    this.segments = [];
    this.sources = new Set();
    this.place = 0;
    this.playing = false;
    this.context = null;
  }

  open() {
    if (this.context) return;
    const Context = window.AudioContext || window.webkitAudioContext;
    try {
      this.context = new Context({ sampleRate: this.rate }); // the recording's own rate: nothing is resampled
    } catch {
      this.context = new Context();
    }
    this.output = this.context.createGain();
    this.output.connect(this.context.destination);
    this.gains = this.levels.map((level) => {
      const gain = this.context.createGain();
      gain.gain.value = level;
      gain.connect(this.output);
      return gain;
    });
  }

  close() {
    this.stop();
    if (this.context) this.context.close();
    this.context = null;
    this.decoded.clear();
  }

  mix(levels) {
    this.levels = levels;
    if (!this.context) return;
    const now = this.context.currentTime;
    this.gains.forEach(({ gain }, n) => {
      gain.cancelScheduledValues(now);
      gain.setTargetAtTime(levels[n], now, FADE);
      gain.setValueAtTime(levels[n], now + 20 * FADE);
    });
  }

  async decode(index) {
    if (!this.decoded.has(index)) {
      for (const other of this.decoded.keys()) if (other < index - 2 || other > index + 3) this.decoded.delete(other);
      const chunks = this.sounds.map(async (addresses) => {
        const data = await bytes(addresses[index]);
        return this.context.decodeAudioData(data);
      });
      const entry = { buffers: null };
      entry.promise = Promise.all(chunks).then((buffers) => { entry.buffers = buffers; });
      entry.promise.catch(() => this.decoded.delete(index)); // a network that fails once may work the next time
      this.decoded.set(index, entry);
    }
    const entry = this.decoded.get(index);
    await entry.promise;
    return entry.buffers;
  }

  async play() {
    this.open();
    const ready = this.context.resume();
    const turn = (this.turn = {});
    if (this.loop && (this.place < this.loop[0] || this.place >= this.loop[1])) this.place = this.loop[0];
    if (this.place >= this.samples) this.place = 0;
    await Promise.all([this.decode(Math.floor(this.place / this.chunk)), ready]);
    if (this.turn !== turn || this.playing) return; // something else was asked for meanwhile
    this.playing = true;
    this.next = this.place;
    this.begin(0.02);
    this.pump();
    this.timer = setInterval(() => this.pump(), 100);
  }

  // Whole samples from here on: sources that start between two would be interpolated.
  begin(delay) {
    this.base = Math.ceil((this.context.currentTime + delay) * this.context.sampleRate) / this.context.sampleRate;
    this.queued = 0;
  }

  get end() { return this.base + this.queued / this.rate; }

  pump() {
    while (this.playing && this.next !== null && this.end < this.context.currentTime + AHEAD) {
      const index = Math.floor(this.next / this.chunk);
      const entry = this.decoded.get(index);
      if (!entry || !entry.buffers) {
        this.decode(index).catch(() => this.stop());
        break;
      }
      if (this.end < this.context.currentTime) this.begin(0.02);
      this.schedule(entry.buffers, index);
    }
    const following = Math.floor((this.next ?? 0) / this.chunk);
    if (this.playing && this.next !== null) this.decode(following).catch(() => {});
    const now = this.context.currentTime;
    this.segments = this.segments.filter((segment) => segment.at + segment.length / this.rate > now - 1);
    if (this.playing && this.next === null && now > this.end) {
      this.stop();
      this.place = 0;
    }
  }

  schedule(buffers, index) {
    const first = this.next;
    const limit = this.loop ? this.loop[1] : this.samples;
    const last = Math.min((index + 1) * this.chunk, limit);
    const skipped = first - index * this.chunk + (index ? this.lead : 0);
    const at = this.end;
    buffers.forEach((buffer, n) => {
      const source = this.context.createBufferSource();
      source.buffer = buffer;
      source.connect(this.gains[n]);
      const rest = buffer.length / buffer.sampleRate - (skipped + last - first) / this.rate;
      if (rest > 0.5 / this.rate) source.start(at, skipped / this.rate, (last - first) / this.rate);
      else source.start(at, skipped / this.rate);
      this.sources.add(source);
      source.onended = () => {
        source.disconnect();
        this.sources.delete(source);
      };
    });
    this.segments.push({ at, first, length: last - first });
    this.queued += last - first;
    this.next = last < limit ? last : this.loop ? this.loop[0] : this.repeats ? 0 : null;
    if (last >= limit && this.next !== null) this.seam(this.end);
  }

  // Where a loop closes, the wave jumps: a short fade keeps that from clicking.
  seam(at) {
    const gain = this.output.gain;
    gain.setValueAtTime(1, Math.max(0, at - FADE));
    gain.linearRampToValueAtTime(0, at);
    gain.linearRampToValueAtTime(1, at + FADE);
  }

  get position() {
    if (!this.playing) return this.place;
    const now = this.context.currentTime;
    let place = this.place;
    for (const { at, first, length } of this.segments) {
      if (at <= now) place = first + Math.min(length, Math.floor((now - at) * this.rate));
    }
    return place;
  }

  stop() {
    this.turn = null;
    if (!this.playing) return;
    this.place = this.position;
    this.playing = false;
    clearInterval(this.timer);
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.sources.clear();
    this.segments = [];
    this.output.gain.cancelScheduledValues(0);
    this.output.gain.value = 1;
  }

  async seek(place) {
    const goesOn = this.playing;
    this.stop();
    this.place = Math.min(Math.max(0, Math.round(place)), this.samples - 1);
    if (goesOn) await this.play();
  }

  async setLoop(loop) {
    this.loop = loop;
    if (this.playing) await this.seek(this.position); // what is scheduled already knows nothing of it
  }
}

async function bytes(address) {
  if (!address.startsWith("data:")) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return answer.arrayBuffer();
  }
  const text = atob(address.slice(address.indexOf(",") + 1));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer;
}
