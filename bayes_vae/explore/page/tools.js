// Below the panels: annealing, weighted draws, the batch trap, the codes and their labels.
import { call, choice, draw, find, make, nats, say, slider } from "./dom.js";
import { klOfNormals, isOneNormal, logNormal, normalOf } from "./densities.js";
import { labelText } from "./now.js";
import { SIDE, ellipse } from "./panels.js";
import { paint, place, shade } from "./pictures.js";
import { boundOf, elboTerms, momentsOnGrid, paretoK, paretoKThreshold, weighedDraws } from "./terms.js";
import { logSumExp } from "./arrays.js";

// Prior × likelihood ^ t ÷ volume, from t = 0 (the prior, or q) to t = 1 (the posterior).
export class Steps {
  constructor(app) {
    this.app = app;
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.words = make("div");
    this.from = choice("Start from", [["prior", "From the prior"], ["q", "From q"]], "prior", (value) => { this.start = value; this.render("t"); });
    this.start = "prior";
    this.slide = slider("temperature t", { low: 0, high: 1, step: 0.01, value: Math.cbrt(app.state.t) }, (u) => app.set({ t: u ** 3 }, "t"));
    find("steps").append(make("h2", { id: "steps-title" }, "Multiply, then normalize"),
      make("p", { class: "hint" }, "t turns the likelihood on. At t = 0 the likelihood does not count; at t = 1 it counts fully. Annealing takes this path to find log p(x) where no grid can."),
      make("div", { class: "side" }, make("div", { class: "plane", role: "img", "aria-label": "the density between start and posterior" }, this.canvas),
        make("div", {}, this.from.element, this.slide.element, this.words)));
  }

  render(reason) {
    if (!["t", "grid", "fine", "view", "q", "colours", "start"].includes(reason)) return;
    const { engine, state } = this.app, t = state.t, fromQ = this.start === "q", view = engine.wideView;
    const grids = engine.fine ? [engine.grid, engine.fine] : [engine.grid];
    const logStart = (grid) => (fromQ ? this.logQ(grid) : grid.logPrior);
    const patches = grids.map((grid) => {
      const start = logStart(grid);
      return { first: grid.first, second: grid.second, values: start.map((value, at) => (1 - t) * value + t * grid.logJoint[at]) };
    });
    shade(this.canvas, patches, view, t > 0.5 ? "posterior" : fromQ ? "q" : "prior", state.shade === "log");
    this.slide.input.value = Math.cbrt(t);
    this.slide.output.textContent = nats(t, 3);
    this.slide.input.setAttribute("aria-valuetext", nats(t, 3));
    const fine = !engine.isSlice && engine.fine && t > 0.3 ? 1 : 0, grid = grids[Math.min(fine, grids.length - 1)];
    const volume = logSumExp(patches[Math.min(fine, patches.length - 1)].values) + grid.logCell, at = this.app.atZ, z = state.z || engine.top;
    const first = fromQ ? "q(z|x)¹⁻ᵗ (p(z) p(x|z))ᵗ" : "p(z) p(x|z)ᵗ";
    const lines = engine.isSlice
      ? ["On a slice the volume is not p(x), so only the shape is shown."]
      : [`1. Multiply: ${first}, t = ${nats(t, 3)}.`, `2. Volume: its logarithm is ${nats(volume)} nats${t === 1 ? ": that is log p(x), the evidence" : ""}.`,
        `3. Normalize: subtract it at every z. At z = (${nats(z[0])}, ${nats(z[1])}), t = 1: ${nats(at.logPrior)} + (${nats(at.logLikelihood)}) − (${nats(engine.logEvidence)}) = ${nats(at.logJoint - engine.logEvidence)} = log p(z|x).`];
    this.words.replaceChildren(...lines.map((line) => make("p", { class: "number" }, line)));
  }

  logQ(grid) {
    const q = this.app.engine.planar(this.app.state.q), H = grid.second.length;
    return grid.logPrior.map((_, at) => logNormal(q, [grid.first[Math.floor(at / H)], grid.second[at % H]]));
  }
}

// K draws from q, sized by their share of the weight.
export class Draws {
  constructor(app) {
    this.app = app;
    this.svg = draw("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img" });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.words = make("div");
    const more = make("button", { type: "button", class: "primary", onclick: () => this.more(50) }, "Draw 50 from q");
    const narrow = make("button", { type: "button", onclick: () => this.narrow() }, "Make q too narrow");
    find("draws").append(make("h2", { id: "draws-title" }, "K draws from q, by weight"),
      make("p", { class: "hint" }, "Each draw has the weight p(x, z) / q(z|x). L_K, the log of the mean of K weights, climbs from the ELBO (K = 1) towards log p(x). k̂ says whether a few draws hold all the weight."),
      make("div", { class: "buttons" }, more, narrow), make("div", { class: "side" }, make("div", {}, make("div", { class: "plane" }, this.canvas, this.svg), make("p", { class: "quiet" }, app.engine.isSlice ? "Shaded: the posterior on the slice." : "Shaded: the exact posterior.")), this.words));
    this.clear();
  }

  clear() {
    this.z = [];
    this.logWeights = new Float64Array(0);
  }

  more(count) {
    const { engine, state } = this.app, D = engine.run.latent_dim;
    if (this.logWeights.length >= 1000) this.clear();
    const found = weighedDraws(engine.run, engine.x, state.q, count, 1 + this.logWeights.length);
    for (let k = 0; k < count; k++) this.z.push(found.z.slice(k * D, (k + 1) * D));
    this.logWeights = Float64Array.of(...this.logWeights, ...found.logWeights);
    this.render("draws");
    say(this.words.textContent);
  }

  narrow() {
    const { engine, state } = this.app, q = engine.isSlice ? state.q : momentsOnGrid(engine.fine || engine.grid);
    this.app.placeQ({ loc: q.loc, tril: q.tril.map((value) => value * 0.3) }, "own");
    for (let i = 0; i < 10; i++) this.more(50);
  }

  render(reason) {
    if (["image", "q", "run"].includes(reason)) this.clear();
    if (!["image", "q", "run", "draws", "view", "fine", "grid", "colours", "start"].includes(reason)) return;
    const { engine, state } = this.app, K = this.logWeights.length, view = this.view;
    if (["grid", "fine", "colours"].includes(reason)) this.shade(view);
    const shapes = [ellipse(engine.planar(state.q), view, 1, "ellipse"), ellipse(engine.planar(state.q), view, 2, "ellipse outer")];
    if (!K) {
      this.svg.replaceChildren(...shapes);
      this.svg.setAttribute("aria-label", "q, and no draws yet");
      this.words.replaceChildren(make("p", { class: "quiet" }, "No draws yet."));
      return;
    }
    const total = logSumExp(this.logWeights), shares = this.logWeights.map((value) => Math.exp(value - total));
    this.z.forEach((z, k) => {
      const [cx, cy] = place(view, SIDE, ...engine.onPlane(z));
      shapes.push(draw("circle", { cx, cy, r: Math.max(0.8, 26 * Math.sqrt(shares[k])), fill: "var(--q)", "fill-opacity": 0.55, stroke: "var(--q)" }));
    });
    this.svg.replaceChildren(...shapes);
    const most = Math.max(...shares), k = paretoK(this.logWeights), limit = paretoKThreshold(K), high = k > limit;
    this.svg.setAttribute("aria-label", `${K} draws; the heaviest holds ${Math.round(100 * most)} percent of the weight`);
    const bounds = [1, 5, 50].filter((n) => n <= K).flatMap((n) => [make("dt", {}, n === 1 ? "L₁ (ELBO, sampled)" : `L${n === 5 ? "₅" : "₅₀"}`), make("dd", {}, withError(this.logWeights, n))]);
    const warning = high
      ? `A few draws hold the weight: with K = ${K}, k̂ should be below ${nats(limit)}. Read L_K as a lower bound that has not converged.`
      : "± is one standard error, where there are groups to estimate it from. A sampled L_K can lie above log p(x); its expectation cannot.";
    this.words.replaceChildren(make("dl", {}, bounds, make("dt", {}, "log p(x)"), make("dd", {}, nats(engine.logEvidence)), make("dt", {}, "K"), make("dd", {}, String(K)),
      make("dt", {}, "heaviest draw"), make("dd", {}, `${Math.round(100 * most)} %`), make("dt", {}, "k̂"), make("dd", { class: high ? "warn" : "" }, `${nats(k)}${high ? ` > ${nats(limit)}` : ""}`)),
      make("p", { class: high ? "warn" : "quiet" }, warning), call("bv.estimate_log_evidence(model, guide, x, num_particles=50)", true));
  }

  get view() {
    const { engine } = this.app;
    return engine.isSlice ? engine.wideView : engine.closeView;
  }

  shade(view) {
    const { engine } = this.app, grids = engine.fine ? [engine.grid, engine.fine] : [engine.grid];
    shade(this.canvas, grids.map(({ first, second, logJoint }) => ({ first, second, values: logJoint })), view, "posterior", false);
  }
}

// L_k with its standard error over groups of k draws.
function withError(logWeights, k) {
  const groups = Math.floor(logWeights.length / k), bound = boundOf(logWeights, k);
  if (groups < 5) return nats(bound);
  const each = Array.from({ length: groups }, (_, g) => boundOf(logWeights.subarray(g * k, (g + 1) * k), k));
  const spread = each.reduce((sum, value) => sum + (value - bound) ** 2, 0) / (groups - 1);
  return `${nats(bound)} ± ${nats(Math.sqrt(spread / groups))}`;
}

// The KL belongs to each observation; one along the batch axis depends on who else is in the batch.
export class Batch {
  constructor(app) {
    this.app = app;
    this.count = Math.min(8, app.engine.run.images.index.length);
    this.turn = 0;
    this.list = make("div", { class: "batch" });
    this.words = make("div");
    const shuffle = make("button", { type: "button", onclick: () => this.fill(null) }, "Shuffle the batch");
    const one = make("button", { type: "button", onclick: () => this.fill("class") }, "Only one class");
    one.hidden = !app.engine.run.images.labels;
    find("batch").append(make("h2", { id: "batch-title" }, "What the KL compares, and the batch trap"),
      make("p", { class: "hint" }, "Each bar is KL(q(z|x) ‖ p(z)) of one image. Watch the chosen image, first in the row, while the others change."),
      make("div", { class: "buttons" }, shuffle, one), this.list, this.words);
    this.fill(null);
  }

  fill(how) {
    const { images } = this.app.engine.run, chosen = this.app.state.image;
    this.turn += 1;
    const key = (i) => (Math.sin(i * 12.9898 + this.turn * 78.233) * 43758.5453) % 1;
    let others = images.index.map((_, i) => i).filter((i) => i !== chosen);
    if (how === "class") others = others.filter((i) => images.labels[i] === images.labels[chosen]);
    this.places = [chosen, ...others.sort((a, b) => key(a) - key(b)).slice(0, this.count - 1)];
    this.how = how;
    this.render("batch");
  }

  kl(place) {
    const { engine } = this.app, { run } = engine, q = engine.encoderQ(place);
    if (isOneNormal(run.prior)) return klOfNormals(q, normalOf(run.prior.loc, run.prior.scale_tril, 0, run.latent_dim));
    return run.latent_dim === 2 ? elboTerms(run, engine.imageAt(place), q, 8).klToPrior : run.figures.kl_to_prior[place];
  }

  render(reason) {
    if (!["batch", "image", "run", "start"].includes(reason)) return;
    const { engine, state } = this.app, { run } = engine;
    if (this.places[0] !== state.image) this.places[0] = state.image;
    const kls = this.places.map((place_) => this.kl(place_)), most = Math.max(...kls);
    this.list.replaceChildren(...this.places.map((place_, n) => {
      const canvas = make("canvas", { class: "picture", role: "img", "aria-label": n ? "another image of the batch" : "the chosen image" });
      paint(canvas, engine.imageAt(place_), run.images);
      const level = make("div");
      level.style.width = `${(100 * kls[n]) / most}%`;
      return make("figure", {}, canvas, make("div", { class: "level" }, level), make("figcaption", {}, n ? nats(kls[n]) : make("b", {}, nats(kls[n]))));
    }));
    const wrong = this.wrongKl(), before = this.before;
    this.before = wrong;
    const one = this.how === "class" ? " This batch holds one class, picked by its labels, which were never used in training." : "";
    this.words.replaceChildren(
      make("p", {}, "KL of the chosen image: ", make("b", {}, `${nats(kls[0])} nats`), ", whatever else is in the batch. ", call("bv.elbo_terms(model, guide, x).kl_to_prior", true)),
      make("p", {}, "The wrong one, along the batch axis (one normal fitted to the codes of the batch, compared with N(0, 1)): ", make("b", {}, `${nats(wrong)} nats`),
        before !== undefined && Math.abs(before - wrong) > 5e-3 ? `; before, it was ${nats(before)}.` : ".", one),
      make("p", { class: "quiet" }, "Observations are never compared with each other. Each image has a KL of its own, between its q and the prior, summed over the numbers of z and not over the batch."));
  }

  wrongKl() {
    const { run } = this.app.engine, D = run.latent_dim, N = this.places.length;
    let total = 0;
    for (let d = 0; d < D; d++) {
      const means = this.places.map((n) => run.q.loc[n * D + d]), m = means.reduce((a, b) => a + b, 0) / N;
      const variance = means.reduce((sum, value) => sum + (value - m) ** 2, 0) / N;
      total += 0.5 * (variance + m * m - 1 - Math.log(Math.max(variance, 1e-12)));
    }
    return total;
  }
}

export const LABEL_COLOURS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#55b8bc"];

// Codes of many test images: grey until their labels are asked for.
export class Codes {
  constructor(app) {
    this.app = app;
    const { codes, images } = app.engine.run;
    this.svg = draw("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img", "aria-label": "codes of test images on the plane of z" });
    this.button = make("button", { type: "button", onclick: () => app.set({ labels: !app.state.labels }, "labels") });
    this.button.hidden = !codes.labels;
    this.key = make("ul", { class: "key" });
    this.words = make("p", {});
    find("codes").append(make("h2", { id: "codes-title" }, "Where the codes lie"),
      make("p", { class: "hint" }, `Each dot is the mean of q(z|x) of one test image${app.engine.isSlice ? ", projected on the slice" : ""}. No label was used to place it.`),
      make("div", { class: "side" }, make("div", { class: "plane" }, this.svg), make("div", {}, this.button, this.words, this.key)));
    this.images = images;
  }

  colourOf(n) {
    const { codes } = this.app.engine.run;
    return this.app.state.labels && codes.labels ? LABEL_COLOURS[((codes.labels[n] % 10) + 10) % 10] : "var(--dot)";
  }

  // The same dots, made once: they change with the run, the labels and the view alone.
  group(view, side) {
    const key = [this.app.state.run, this.app.state.labels, ...view.low, ...view.high].join();
    if (key !== this.keptFor) [this.keptFor, this.kept] = [key, draw("g", {}, this.dots(view, side))];
    return this.kept;
  }

  dots(view, side, r = 1.3) {
    return this.app.engine.codes.map((z, n) => {
      const [cx, cy] = place(view, side, ...z);
      return draw("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r, fill: this.colourOf(n), "fill-opacity": 0.8 });
    });
  }

  render(reason) {
    const { engine, state } = this.app, { codes } = engine.run;
    if (!["labels", "run", "start", ...(engine.isSlice ? ["image"] : [])].includes(reason)) return;
    this.svg.replaceChildren(...this.dots(engine.isSlice ? around(engine.codes) : engine.wideView, SIDE, 2));
    this.button.textContent = state.labels ? "Hide the labels" : "Show the labels";
    this.button.setAttribute("aria-pressed", String(state.labels));
    const classes = state.labels ? [...new Set(codes.labels)].sort((a, b) => a - b).slice(0, 20) : [];
    this.key.replaceChildren(...classes.map((label) => {
      const swatch = draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, draw("circle", { cx: 5, cy: 5, r: 4, fill: LABEL_COLOURS[((label % 10) + 10) % 10] }));
      return make("li", {}, swatch, labelText(this.images, label));
    }));
    this.words.textContent = state.labels
      ? "These labels were never used in training. Similar images lie close together because one smooth decoder must draw them all: nearby z give similar images."
      : codes.labels ? "The dots are grey, because the model has never seen a label." : "These data have no labels.";
  }
}

// A square that holds some points of the plane.
function around(points) {
  const [low, high] = [Math.min, Math.max].map((pick) => [0, 1].map((i) => pick(...points.map((point) => point[i]))));
  const middle = [0, 1].map((i) => (low[i] + high[i]) / 2), half = 0.55 * Math.max(high[0] - low[0], high[1] - low[1]);
  return { low: middle.map((m) => m - half), high: middle.map((m) => m + half) };
}
