// Restores a song in this browser: decodes it, puts it through the network chunk by chunk, and hands it to the player.
const WORDS = {
  en: {
    before: "before", after: "restored", progressLabel: "Progress",
    reading: "Reading …", loading: "Loading the model …",
    progress: (done, total, left) => `${done} of ${total} s, ${left} s left`,
    done: (seconds, speed) => `${seconds} s of audio restored at ${speed} × real time.`,
    cancelled: "Cancelled.",
    undecodable: (name) => `${name} is not audio that this browser can read: give an MP3, AAC, Ogg, FLAC or WAV file.`,
    tooLarge: (name) => `${name} takes more memory than this browser has: give a shorter file, or use the program.`,
    failed: (reason) => `The network could not be run (${reason}): load the page again, or use another browser.`,
  },
  zh: {
    title: "Apollo：还原被 MP3 损伤的音乐", lead: "拖入歌曲，还原，听听区别。一切都在此浏览器中完成，不会上传任何内容。",
    song: "将歌曲拖到这里，或选择文件", fill: "填充：0 最忠实，1 最饱满", restore: "还原", cancel: "取消",
    download: "下载（WAV，32 位浮点）", before: "还原前", after: "还原后", progressLabel: "进度",
    reading: "正在读取……", loading: "正在加载模型……",
    progress: (done, total, left) => `${done} / ${total} 秒，剩余 ${left} 秒`,
    done: (seconds, speed) => `已还原 ${seconds} 秒音频，${speed} 倍实时。`,
    cancelled: "已取消。",
    undecodable: (name) => `此浏览器无法读取 ${name}：请选择 MP3、AAC、Ogg、FLAC 或 WAV 文件。`,
    tooLarge: (name) => `${name} 所需内存超出此浏览器的可用内存：请选择较短的文件，或使用程序。`,
    failed: (reason) => `网络无法运行（${reason}）：请重新加载此页，或换一个浏览器。`,
  },
};
const chinese = (navigator.language || "en").toLowerCase().startsWith("zh");
const words = WORDS[chinese ? "zh" : "en"];

const SILENCE = 1e-9; // as `apollo restore` has it: no recording is softer, and rounding errors are not restored
const COLUMNS = 1024, ROWS = 256, FRAME = 2048, RANGE_DB = 90; // of the pictures

const find = (selector) => document.querySelector(selector);
const about = Object.fromEntries(Object.entries(find("main").dataset).map(([name, text]) => [name, Number(text)]));
const [song, share, restore, cancel, progress, status, download, result] =
  ["song", "share", "restore", "cancel", "progress", "status", "download", "result"].map((id) => find(`#${id}`));
let file = null, runners = [], cancelled = false;

class Cancelled extends Error {}

class Sentence extends Error {} // for whoever sits before the page

// Runs the network over one waveform at a time, in a thread of its own.
class Runner {
  constructor(network) {
    this.worker = new Worker("worker.js", { type: "module" });
    this.worker.postMessage({ network });
  }

  run(waveform, fill) {
    if (cancelled) throw new Cancelled();
    return new Promise((resolve, reject) => {
      this.reject = reject;
      this.worker.onerror = (event) => reject(new Sentence(words.failed(event.message || "worker.js")));
      this.worker.onmessage = ({ data }) => (data.error ? reject(new Sentence(words.failed(data.error))) : resolve(data.samples));
      this.worker.postMessage({ waveform, fill }, [waveform.buffer]);
    });
  }

  stop() {
    this.worker.terminate();
    this.reject?.(new Cancelled());
  }
}

function stop() {
  runners.forEach((runner) => runner.stop());
  runners = [];
}

// The bytes of the network. Browsers keep them for the next visit where they let a page keep files (https, localhost);
// another network has another address.
async function fetchNetwork() {
  const address = `model.onnx?${find("main").dataset.network}`;
  const kept = await globalThis.caches?.open(`apollo ${location.pathname}`).catch(() => null);
  let answer = await kept?.match(address);
  if (!answer) {
    answer = await fetch(address);
    if (!answer.ok) throw new Error(`model.onnx: ${answer.status}`);
    for (const old of (await kept?.keys()) || []) await kept.delete(old);
    await kept?.put(address, answer.clone()).catch(() => {}); // no room: it is fetched again next time
  }
  return answer.arrayBuffer();
}

// Two channels go through the network at once where the machine has two cores: twice the memory, and no more than that.
async function start(channels, fill) {
  const count = Math.min(channels, navigator.hardwareConcurrency >= 2 ? 2 : 1);
  if (runners.length < count) {
    const network = await fetchNetwork();
    while (runners.length < count) runners.push(new Runner(network));
  }
  await Promise.all(runners.map((runner) => runner.run(new Float32Array(about.rate), fill)));
}

async function decode(source) {
  let data;
  try {
    data = await source.arrayBuffer();
  } catch {
    throw new Sentence(words.tooLarge(source.name));
  }
  try {
    return await new OfflineAudioContext(1, 1, about.rate).decodeAudioData(data);
  } catch {
    throw new Sentence(words.undecodable(source.name));
  }
}

function peakOf(samples) {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return peak;
}

// Chunks begin on multiples of the hop and bring on either side as much as the network looks at: so their samples are
// those that it would give for the whole. It has learnt at full scale: one gain for all channels, undone afterwards.
async function* restored(channels, fill) {
  const peaks = channels.map(peakOf), peak = Math.max(...peaks), samples = channels[0].length;
  for (let start = 0; start < samples; start += about.chunk) {
    const end = Math.min(start + about.chunk, samples), from = Math.max(0, start - about.context);
    const parts = channels.map(() => new Float32Array(end - start));
    const waiting = [...channels.keys()].filter((n) => peaks[n] > SILENCE);
    await Promise.all(runners.map(async (runner) => {
      while (waiting.length) {
        const n = waiting.shift(); // whoever is free takes the next
        const waveform = channels[n].slice(from, end + about.context).map((sample) => sample / peak);
        const whole = await runner.run(waveform, fill);
        parts[n] = whole.subarray(start - from, end - from).map((sample) => sample * peak);
      }
    }));
    yield [start, end, parts];
  }
}

// A WAV file in 32-bit float: nothing is rounded, nothing clips.
function header(channels, samples) {
  const size = samples * channels * 4, view = new DataView(new ArrayBuffer(58));
  const text = (at, letters) => [...letters].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 50 + size, true); text(8, "WAVEfmt "); view.setUint32(16, 18, true);
  view.setUint16(20, 3, true); view.setUint16(22, channels, true); view.setUint32(24, about.rate, true);
  view.setUint32(28, about.rate * channels * 4, true); view.setUint16(32, channels * 4, true); view.setUint16(34, 32, true);
  text(38, "fact"); view.setUint32(42, 4, true); view.setUint32(46, samples, true); text(50, "data"); view.setUint32(54, size, true);
  return view;
}

function interleaved(parts) {
  const all = new Float32Array(parts.length * parts[0].length);
  parts.forEach((part, n) => part.forEach((sample, t) => { all[t * parts.length + n] = sample; }));
  return all;
}

// One of the sounds to be compared: its chunks as files, its energy, and what its picture is drawn of.
class Sound {
  constructor(samples) {
    this.samples = samples;
    this.data = [];
    this.chunks = [];
    this.energy = 0;
    this.columns = Array(COLUMNS).fill(null);
  }

  take(start, parts) {
    const all = interleaved(parts), data = new Blob([all]);
    this.data.push(data);
    this.chunks.push(address(new Blob([header(parts.length, parts[0].length), data], { type: "audio/wav" })));
    for (const sample of all) this.energy += sample * sample;
    this.look(start, parts);
  }

  look(start, parts) {
    const length = parts[0].length, first = Math.ceil((start / this.samples) * COLUMNS);
    for (let n = first; n < COLUMNS && (n * this.samples) / COLUMNS < start + length; n++) {
      const from = Math.max(0, Math.min(Math.round((n * this.samples) / COLUMNS) - start, length - FRAME));
      const frame = Float64Array.from({ length: FRAME }, (_, t) => parts.reduce((sum, part) => sum + (part[from + t] || 0), 0) / parts.length);
      this.columns[n] = power(frame);
    }
  }
}

const COSINE = Float64Array.from({ length: FRAME }, (_, t) => Math.cos((2 * Math.PI * t) / FRAME));

// Power of a frame in `ROWS` bands from 0 Hz to half the sample rate: Hann window, Fourier transform of radix 2.
function power(real) {
  const n = real.length, imaginary = new Float64Array(n), bits = Math.log2(n);
  real.forEach((_, t) => { real[t] *= 0.5 - 0.5 * COSINE[t]; });
  for (let t = 0, r = 0; t < n; t++) {
    if (t < r) [real[t], real[r]] = [real[r], real[t]];
    for (let bit = n >> 1; (r ^= bit) < bit; bit >>= 1);
  }
  for (let level = 1; level <= bits; level++) {
    const half = 1 << (level - 1);
    for (let k = 0; k < half; k++) {
      const turn = (k * n) / (2 * half), c = COSINE[turn], s = COSINE[(turn + n / 4) % n];
      for (let a = k; a < n; a += 2 * half) {
        const b = a + half, x = real[b] * c - imaginary[b] * s, y = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - x; imaginary[b] = imaginary[a] - y;
        real[a] += x; imaginary[a] += y;
      }
    }
  }
  const band = n / 2 / ROWS;
  return Float64Array.from({ length: ROWS }, (_, row) => {
    let loudest = 0;
    for (let k = row * band; k < (row + 1) * band; k++) loudest = Math.max(loudest, real[k] ** 2 + imaginary[k] ** 2);
    return loudest;
  });
}

// The colours of the player's scale, from its style sheet.
const COLOURS = [[0, 0, 4], [34, 17, 80], [95, 24, 127], [152, 45, 128], [211, 67, 110], [248, 118, 92], [254, 187, 129], [252, 253, 191]];

async function picture(columns, reference) {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = COLUMNS;
  canvas.height = ROWS;
  const image = context.createImageData(COLUMNS, ROWS);
  columns.forEach((column, x) => column?.forEach((value, row) => {
    const level = 1 + (10 * Math.log10(value / reference + 1e-30)) / RANGE_DB;
    const place = Math.min(Math.max(level, 0), 1) * (COLOURS.length - 1), below = Math.min(Math.floor(place), COLOURS.length - 2);
    const at = ((ROWS - 1 - row) * COLUMNS + x) * 4;
    for (let c = 0; c < 3; c++) image.data[at + c] = COLOURS[below][c] + (place - below) * (COLOURS[below + 1][c] - COLOURS[below][c]);
    image.data[at + 3] = 255;
  }));
  context.putImageData(image, 0, 0);
  return address(await new Promise((resolve) => canvas.toBlob(resolve)));
}

let addresses = [];

function address(blob) {
  addresses.push(URL.createObjectURL(blob));
  return addresses.at(-1);
}

// What an earlier song has left is given back to the browser.
function clear() {
  result.replaceChildren();
  download.hidden = true;
  addresses.forEach((each) => URL.revokeObjectURL(each));
  addresses = [];
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

async function show(sounds, samples) {
  const [before, after] = sounds;
  const reference = before.columns.reduce((loudest, column) => Math.max(loudest, ...(column || [0])), 1e-20);
  const equal = Math.sqrt(after.energy / before.energy) || 1; // as loud as each other
  const gains = [Math.min(1, equal), Math.min(1, 1 / equal), 1];
  const names = [words.before, words.after, ""];
  const figures = [];
  for (const [n, sound] of sounds.entries()) {
    const image = element("img", { src: await picture(sound.columns, reference), alt: names[n], style: "flex-grow:1" });
    figures.push(element("figure", { "data-name": names[n], "data-gain": gains[n], "data-level": 1 },
      element("figcaption", {}, element("b", {}, names[n])), element("div", { class: "picture" }, image),
      ...sound.chunks.map((src) => element("audio", { controls: "", preload: "none", src }))));
  }
  result.replaceChildren(element("apollo-player", {
    "data-rate": about.rate, "data-samples": samples, "data-chunk": about.chunk, "data-lead": 0,
    "data-top": about.rate / 2, "data-range": RANGE_DB, "data-first": 1,
  }, ...figures));
}

async function work(source) {
  say(words.reading);
  const fill = Number(share.value), audio = await decode(source), samples = audio.length;
  const channels = Array.from({ length: audio.numberOfChannels }, (_, n) => audio.getChannelData(n));
  const sounds = [new Sound(samples), new Sound(samples), new Sound(samples)], seconds = samples / about.rate;
  say(words.loading);
  progress.hidden = false;
  progress.value = 0;
  await start(channels.length, fill); // which says nothing of the time that is left
  const began = performance.now();
  for await (const [start, end, parts] of restored(channels, fill)) {
    const given = channels.map((channel) => channel.subarray(start, end));
    sounds[0].take(start, given);
    sounds[1].take(start, parts);
    sounds[2].look(start, parts.map((part, n) => part.map((sample, t) => sample - given[n][t])));
    progress.value = end / samples;
    const left = (((performance.now() - began) / 1000) * (samples - end)) / end;
    say(words.progress(Math.round(end / about.rate), Math.round(seconds), Math.ceil(left)));
  }
  const speed = seconds / ((performance.now() - began) / 1000);
  await show(sounds, samples);
  download.href = address(new Blob([header(channels.length, samples), ...sounds[1].data], { type: "audio/wav" }));
  download.download = `${source.name.replace(/\.[^.]+$/, "")}.restored.wav`;
  download.hidden = false;
  say(words.done(seconds.toFixed(1), speed.toFixed(1)));
}

function say(text, failed = false) {
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

function choose(chosen) {
  if (!chosen || !cancel.hidden) return; // while one is restored, no other
  file = chosen;
  restore.disabled = false;
  say(file.name);
}

restore.addEventListener("click", async () => {
  clear();
  restore.disabled = song.disabled = true;
  cancel.hidden = cancelled = false;
  try {
    await work(file);
  } catch (error) {
    if (error instanceof Cancelled) say(words.cancelled);
    else if (error instanceof Sentence) say(error.message, true);
    else say(error instanceof RangeError ? words.tooLarge(file.name) : words.failed(error.message), true);
    stop();
    clear();
  }
  cancel.hidden = progress.hidden = true;
  restore.disabled = song.disabled = false;
});
cancel.addEventListener("click", () => {
  cancelled = true;
  stop();
});
song.addEventListener("change", () => choose(song.files[0]));
share.addEventListener("input", () => { find("output").textContent = share.value; });
addEventListener("dragover", (event) => {
  event.preventDefault();
  find("#drop").classList.add("over");
});
addEventListener("dragleave", () => find("#drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  find("#drop").classList.remove("over");
  choose(event.dataTransfer.files[0]);
});

find("#fill").hidden = !about.fill;
progress.setAttribute("aria-label", words.progressLabel);
if (chinese) {
  document.documentElement.lang = "zh";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = words[node.dataset.word];
  document.title = words.title;
}
