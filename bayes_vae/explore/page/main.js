// The page: one state, one engine, and parts that render when told what has changed.
import { unpack } from "./arrays.js";
import { Bar } from "./bar.js";
import { Chooser } from "./chooser.js";
import { call, find, forgetColours, make, subscript } from "./dom.js";
import { normalOf } from "./densities.js";
import { Engine } from "./engine.js";
import { Queue, serve } from "./jobs.js";
import { Now } from "./now.js";
import { Panels } from "./panels.js";
import { Runs } from "./runs.js";
import { hashOf, readHash } from "./state.js";
import { Batch, Codes, Draws, Steps } from "./tools.js";
import { Tour } from "./tour.js";

class App {
  constructor(content, source) {
    this.content = content;
    this.state = readHash(location.hash, content);
    this.queue = new Queue(source);
    this.parts = [];
    this.stops = [];
    this.openRun();
    const wished = this.state.q;
    this.choose();
    if (wished) { this.adopt(wished, "own"); this.fit(); }
    find("name").textContent = content.runs.map(({ name }) => name).join(", ");
    this.codes = new Codes(this);
    this.panels = new Panels(this);
    this.top = [new Runs(this, content), new Chooser(this), new Now(this), this.panels, new Bar(this), new Tour(this)];
    this.below = [new Steps(this), new Draws(this), new Batch(this), this.codes];
    this.parts = [...this.top, ...this.below];
    this.about();
    this.render("start");
    this.render("grid");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetColours(); this.render("colours"); });
    addEventListener("hashchange", () => this.follow());
  }

  lead() {
    const { latent_dim: D } = this.engine.run, { along } = this.state;
    const ways = along ? `z${subscript(along[0])} and z${subscript(along[1])}` : "the two principal directions of the codes";
    const plane = D === 2 ? "every panel is the plane of all z" : `every panel is a slice, the plane through the mean of q(z|x) along ${ways}`;
    return `x is the observation: the image below. z is the hypothesis: the ${D === 2 ? "two" : D} numbers from which, according to the model, x was made; ${plane}. ` +
      "p(x) is the evidence: one number, how probable the image is under the whole model (everyday Bayes calls x itself the evidence); the page writes its natural logarithm, log p(x); the unit of natural logarithms is the nat. " +
      "Two networks do the work: the decoder makes p(x|z) from z; the encoder makes q(z|x), the ellipse, from x, a stand-in for the posterior. A code is the mean of q.";
  }

  openRun() {
    this.engine = new Engine(this.content.runs[this.state.run], this.queue, (what) => this.changed(what));
    this.engine.cut(this.state.along);
  }

  // The engine has a new grid.
  changed(what) {
    if (!this.parts.length) return;
    this.look();
    this.fit();
    this.render(what);
  }

  choose() {
    this.engine.choose(this.state.image, this.state.drawn);
    this.adopt(this.engine.ownQ, "encoder");
    if (!this.terms.forces) this.refineTerms();
    this.look();
    this.fit();
  }

  // What the panels show, unless it was chosen: the whole plane, or the posterior from near where it is small.
  fit() {
    const { view, q } = this.state;
    this.shown = view !== "auto" ? view : this.engine.isNarrow(q) ? "posterior" : "plane";
  }

  look() {
    this.atZ = this.engine.at(this.state.z || this.engine.top);
  }

  chooseImage(place) {
    this.stop();
    Object.assign(this.state, { image: place, drawn: null, z: null });
    this.choose();
    this.about();
    this.render("image");
    this.remember();
  }

  chooseDrawn(pixels) {
    this.stop();
    Object.assign(this.state, { drawn: pixels, z: null });
    this.choose();
    this.render("image");
    this.remember();
  }

  // Another slice through the same point: two numbers of z, or null for the principal directions.
  cutSlice(along) {
    this.stop();
    Object.assign(this.state, { along, z: null });
    this.engine.cut(along);
    this.look();
    this.about();
    this.render("image");
    this.remember();
  }

  chooseRun(run) {
    this.stop();
    this.state.run = run;
    this.openRun();
    this.choose();
    this.about();
    this.render("run");
    this.render("grid");
    this.remember();
  }

  set(changes, reason) {
    Object.assign(this.state, changes);
    if (reason === "z") this.look();
    if (reason === "view") this.fit();
    if (this.parts.length) this.render(reason);
    this.remember();
  }

  adopt(q, from) {
    this.state.q = q;
    this.state.qFrom = from;
    const isLarge = this.engine.size > 300;
    this.terms = (isLarge && from === "encoder" && this.engine.pythonTerms(q)) || this.engine.elbo(q, isLarge ? 8 : 12);
    if (from === "encoder") this.best = null;
  }

  // Move q; the terms are those of few nodes at once, and of many when it rests.
  setQ(q, from, alone = true, forces = null) {
    if (alone) this.stop();
    this.adopt(q, from);
    if (forces) this.terms.forces = forces;
    this.render("q");
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.remember();
      this.refineTerms();
    }, 120);
  }

  // The terms of q by many nodes, when the worker has them.
  refineTerms() {
    const { q } = this.state;
    this.engine.elboLater(q, (terms) => { if (this.state.q === q) { this.terms = terms; this.render("terms"); } });
  }

  dragQ(part, z) {
    const { q } = this.state, { engine } = this;
    if (engine.isSlice) {
      const D = q.loc.length, { centre, directions } = engine.slice;
      return this.setQ({ loc: q.loc.map((_, d) => centre[d] + z[0] * directions[d] + z[1] * directions[D + d]), tril: q.tril }, "own");
    }
    if (part === "mean") return this.setQ({ loc: Float64Array.from(z), tril: q.tril }, "own");
    const tril = Float64Array.from(q.tril);
    if (part === "first") {
      tril[0] = Math.max(0.005, z[0] - q.loc[0]);
      if (engine.run.full_covariance) tril[2] = z[1] - q.loc[1];
    } else tril[3] = Math.max(0.005, z[1] - q.loc[1]);
    return this.setQ({ loc: q.loc, tril }, "own");
  }

  // Put q somewhere at once, and look at it from where it can be seen.
  placeQ(q, from) {
    this.state.q = q;
    this.fit();
    this.setQ(q, from);
    this.render("view");
  }

  resetQ() {
    this.placeQ(this.engine.ownQ, "encoder");
  }

  startAtPrior() {
    const { prior, latent_dim: D } = this.engine.run;
    if (prior.kind === "mixture" && prior.log_weights.length === 1) return this.placeQ(normalOf(prior.loc, prior.scale_tril, 0, D), "own");
    const tril = new Float64Array(D * D);
    for (let i = 0; i < D; i++) tril[i * D + i] = 1;
    return this.placeQ({ loc: new Float64Array(D), tril }, "own");
  }

  onStop(stop) {
    this.stops.push(stop);
  }

  stop() {
    while (this.stops.length) this.stops.pop()();
  }

  // Another image or run: what stands at the top is painted first, and then the tools below it.
  render(reason) {
    if (reason !== "image" && reason !== "run") return this.parts.forEach((part) => part.render(reason));
    const all = (parts) => [reason, "grid"].forEach((each) => parts.forEach((part) => part.render(each)));
    all(this.top);
    cancelAnimationFrame(this.painting);
    clearTimeout(this.painted);
    this.painting = requestAnimationFrame(() => { this.painted = setTimeout(() => all(this.below)); });
  }

  remember() {
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => {
      const hash = hashOf(this.state);
      if (hash === location.hash.slice(1)) return;
      this.own = `#${hash}`;
      try { history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search); } catch { /* a frame that may not */ }
    }, 250);
  }

  // The hash was changed by hand, or by Back.
  follow() {
    const state = readHash(location.hash, this.content), otherRun = state.run !== this.state.run;
    const { q } = state;
    this.stop();
    Object.assign(this.state, state, { tour: this.state.tour });
    if (otherRun) this.openRun();
    else this.engine.cut(state.along);
    this.about();
    this.choose();
    if (q) this.adopt(q, "own");
    this.render("run");
    this.render("labels");
  }

  about() {
    document.querySelector(".lead").textContent = this.lead();
    const { run } = this.engine, { images } = run, notes = run.notes.map((note) => make("li", {}, note)), { image } = this.state;
    const code = `import bayes_vae as bv\nmodel, guide = bv.load("RUN")\ndata = bv.load_data("${images.data}")  # as in training\nx = data.test[${image}:${image + 1}].seeded(${images.seed})`;
    find("about").replaceChildren(
      make("p", {}, `Data: ${images.data}, test images, policy ${images.policy}. Likelihood: ${run.likelihood.family}. All numbers are natural logarithms, in nats, for one image. `,
        "The page computes them itself, from this run’s weights; figures marked Python were computed when the page was made."),
      notes.length ? make("div", {}, make("p", {}, "What this page does not show of the run:"), make("ul", {}, notes)) : "",
      make("p", {}, "Before each Python call on this page; RUN is the folder of this run. ", call(code, true)),
      make("pre", { class: "before" }, make("code", {}, code)),
      make("p", {}, `Made by bayes_vae ${this.content.version}. This file loads nothing and sends nothing.`));
  }
}

function start() {
  const content = unpack(JSON.parse(find("content").textContent)), source = document.currentScript.textContent;
  window.bayesVae = new App(content, source);
}

if (typeof document === "undefined") {
  if (typeof importScripts === "function") serve();
} else start();
