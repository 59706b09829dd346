// What can be chosen, and the URL's hash that says it, so that a view can be sent.

const DEFAULTS = { run: 0, image: 0, sort: "index", view: "auto", shade: "density", split: "integral", labels: false, t: 1, tour: -1 };
const CHOICES = { sort: ["index", "log_evidence", "pareto_k"], view: ["auto", "plane", "posterior"], shade: ["density", "log"], split: ["integral", "prior", "entropy"] };

export function readHash(hash, content) {
  const state = { ...DEFAULTS, z: null, q: null, drawn: null, along: null, qFrom: "encoder" };
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  for (const [name, value] of parts) {
    if (CHOICES[name]?.includes(value)) state[name] = value;
    else if (name === "labels") state.labels = value === "1";
    else if (name === "t") state.t = bounded(Number(value), 0, 1, 1);
    else if (name === "run") state.run = whole(value, content.runs.length);
  }
  const run = content.runs[state.run], D = run.latent_dim, images = run.images;
  state.image = whole(parts.get("image"), images.index.length);
  const along = numbers(parts.get("along"), 2);
  if (D > 2 && along && along[0] !== along[1] && along.every((i) => i === whole(i, D))) state.along = along;
  state.z = numbers(parts.get("z"), 2);
  const q = numbers(parts.get("q"), D + D * D);
  if (q && q.slice(D).every((_, i) => i % (D + 1) || q[D + i] > 0)) {
    state.q = { loc: Float64Array.from(q.slice(0, D)), tril: Float64Array.from(q.slice(D)) };
    state.qFrom = "own";
  }
  state.drawn = pixels(parts.get("draw"), images);
  return state;
}

export function hashOf(state) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(DEFAULTS))
    if (name !== "tour" && state[name] !== value) parts.set(name, typeof state[name] === "boolean" ? "1" : String(state[name]));
  if (state.along) parts.set("along", state.along.join());
  if (state.z) parts.set("z", state.z.map(short).join(","));
  if (state.qFrom !== "encoder" && state.q) parts.set("q", [...state.q.loc, ...state.q.tril].map(short).join(","));
  if (state.drawn) parts.set("draw", Array.from(state.drawn, (value) => (value >= 0.5 ? "1" : "0")).join("").replace(/0+$/, ""));
  return parts.toString().replaceAll("%2C", ",");
}

const short = (value) => String(Number(value.toPrecision(5)));

function whole(text, count) {
  const value = Number(text ?? 0);
  return Number.isInteger(value) && value >= 0 && value < count ? value : 0;
}

function bounded(value, low, high, otherwise) {
  return value >= low && value <= high ? value : otherwise;
}

function numbers(text, count) {
  const values = (text || "").split(",").map(Number);
  return text && values.length === count && values.every(Number.isFinite) ? values : null;
}

function pixels(text, images) {
  const size = images.x.length / images.index.length;
  if (!text || !/^[01]+$/.test(text) || text.length > size) return null;
  return Float64Array.from({ length: size }, (_, i) => (text[i] === "1" ? 1 : 0));
}
