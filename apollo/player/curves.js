// The mean level by frequency of all sounds up to a top, in one diagram; lines differ in dashes as well as in colour.
function curves(sounds, top) {
  const known = sounds.filter((sound) => sound.spectrum.length);
  if (!known.length) return "";
  const width = 640, height = 220, left = 34, bottom = 22, values = known.flatMap((sound) => sound.spectrum);
  const high = Math.ceil(Math.max(...values) / 20) * 20, low = Math.max(high - 120, Math.floor(Math.min(...values) / 20) * 20);
  const x = (part) => left + part * (width - left), y = (db) => ((high - Math.max(db, low)) / (high - low)) * (height - bottom - 4) + 4;
  let inside = "";
  for (let db = low; db <= high; db += 20) inside += `<path class="grid" d="M${left} ${y(db)}H${width}"/><text x="${left - 5}" y="${y(db) + 3}" text-anchor="end">${db}</text>`;
  for (let khz = 0; khz * 1000 < top; khz += 5) inside += `<text x="${x((khz * 1000) / top)}" y="${height - 6}" text-anchor="middle">${khz}</text>`;
  known.forEach((sound, n) => {
    const line = sound.spectrum.map((db, i, all) => `${x((i + 0.5) / all.length).toFixed(1)} ${y(db).toFixed(1)}`).join("L");
    inside += `<path class="line c${n}" d="M${line}"/>`;
  });
  const legend = make("p", { class: "legend" });
  known.forEach((sound, n) => {
    const mark = make("span");
    mark.innerHTML = `<svg viewBox="0 0 30 8" aria-hidden="true"><path class="line c${n}" d="M0 4H30"/></svg>`;
    legend.append(mark, sound.name);
  });
  const diagram = make("div", { class: "diagram" });
  diagram.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${words.spectrum}">${inside}</svg>`;
  return make("details", { class: "curves" }, make("summary", {}, `${words.spectrum} (dB, ${words.frequency})`), legend, diagram);
}
