// One run in the page: the terms of the chosen image, first from the cached grid, then from a grid around its posterior.
import { encode, entropyOf, logPriors, normalOf } from "./densities.js";
import { decodedMean, logLikelihoods, logLikelihoodsKept } from "./likelihood.js";
import { runNetwork } from "./network.js";
import {
  boxOfPosterior, drawsRule, elboTerms, evenly, logLikelihoodAt, momentsOnGrid, nodesOf, termsOnGrid, withEvidence,
} from "./terms.js";

const MOST_CACHED = 6e6;
const FEWEST_NODES = 31;
const SLICE_PAIRS = 64;
const LATER_PAIRS = 256;
const SLOPE_PAIRS = 16;
const MOST_PAIRS = 256;
const MULTIPLICATIONS = 4e8;
const SLICE_FIRST = 15;
const SLICE_NODES = 61;

export class Engine {
  constructor(run, queue, changed) {
    [this.run, this.queue, this.changed] = [run, queue, changed];
    this.isSlice = run.latent_dim > 2;
    this.plane = { low: Array.from(run.plane.low), high: Array.from(run.plane.high) };
    queue.use({ decoder: run.decoder, likelihood: run.likelihood, prior: run.prior });
    if (this.isSlice) {
      this.directions = run.directions;
      this.rule = drawsRule(run.latent_dim, SLICE_PAIRS, 0, 2);
      return;
    }
    const width = this.size * run.likelihood.per_number;
    const nodes = Math.max(FEWEST_NODES, Math.min(61, Math.floor(Math.sqrt(MOST_CACHED / width))));
    const [first, second] = this.axes(nodes);
    queue.ask("outputs", { first, second }, (cached) => { this.cached = cached; this.recompute(); this.changed("grid"); });
  }

  axes(count) {
    return [evenly(this.plane.low[0], this.plane.high[0], count), evenly(this.plane.low[1], this.plane.high[1], count)];
  }

  // The terms on the whole plane: from kept outputs of the decoder; before they come, from the few nodes that Python computed.
  coarse() {
    const { run, x, cached } = this, kept = run.first_grid;
    if (!cached && this.place !== null) {
      const count = kept.length / run.images.index.length, [first, second] = this.axes(Math.round(Math.sqrt(count)));
      this.firstPrior ??= logPriors(run.prior, nodesOf(first, second), count);
      return withEvidence(first, second, this.firstPrior, kept.slice(this.place * count, (this.place + 1) * count));
    }
    if (!cached) return termsOnGrid(run, x, ...this.axes(FEWEST_NODES));
    const { first, second, logPrior, outputs, normalizers } = cached;
    const logLikelihood = normalizers
      ? logLikelihoodsKept(outputs, normalizers, x)
      : logLikelihoods(run.likelihood, outputs, logPrior.length, x);
    return withEvidence(first, second, logPrior, logLikelihood);
  }

  get size() {
    return this.run.images.x.length / this.run.images.index.length;
  }

  imageAt(place) {
    return this.run.images.x.slice(place * this.size, (place + 1) * this.size);
  }

  encoderQ(place) {
    return normalOf(this.run.q.loc, this.run.q.scale_tril, place, this.run.latent_dim);
  }

  // Choose an image: a place among the run's, or pixels of one's own.
  choose(place, drawn) {
    this.place = drawn ? null : place;
    this.x = drawn || this.imageAt(place);
    this.fine = null;
    if (this.isSlice) this.slice = { centre: this.encoderQ(place).loc, directions: this.directions };
    this.recompute();
    this.ownQ = this.place === null ? encode(this.run.encoder, this.x, 2) || momentsOnGrid(this.grid) : this.encoderQ(place);
  }

  // Cut the slice along two chosen numbers of z, or along the two principal directions of the codes (null).
  cut(along) {
    const D = this.run.latent_dim;
    this.directions = along ? Float64Array.from({ length: 2 * D }, (_, i) => Number(i % D === along[i < D ? 0 : 1])) : this.run.directions;
    if (!this.slice) return;
    this.slice = { centre: this.slice.centre, directions: this.directions };
    this.recompute();
  }

  recompute() {
    if (!this.x) return;
    if (this.isSlice) {
      const { run, x, slice } = this, at = (count) => [x, ...this.axes(count), slice];
      this.grid = termsOnGrid(run, ...at(SLICE_FIRST));
      this.queue.ask("slice", { terms: at(SLICE_NODES) }, (grid) => {
        if (x !== this.x || slice !== this.slice) return;
        this.grid = grid;
        this.changed("grid");
      });
    } else {
      this.grid = this.coarse();
      const asked = this.x;
      this.queue.ask("refine", { x: asked, box: boxOfPosterior(this.grid), count: 61 }, (grid) => {
        if (asked !== this.x) return;
        this.fine = grid;
        this.changed("fine");
      });
    }
  }

  // log p(x): by the fine grid, else Python's, else by the cached grid; on a slice only Python's.
  get logEvidence() {
    if (this.isSlice) return this.python("log_evidence");
    return this.fine ? this.fine.logEvidence : this.python("log_evidence") ?? this.grid.logEvidence;
  }

  // A figure that Python computed for this image; null for a drawn one.
  python(name) {
    const values = this.run.figures[name];
    return this.place === null || !values ? null : values[this.place];
  }

  elbo(q, points) {
    return elboTerms(this.run, this.x, q, points, this.rule);
  }

  // What Python computed for the encoder's q of this image, at once; the page's own, with the forces, comes later.
  pythonTerms(q) {
    const expected = this.python("expected_log_likelihood"), kl = this.python("kl_to_prior"), entropy = entropyOf(q);
    if (expected === null || this.isSlice) return null;
    return { expectedLogLikelihood: expected, klToPrior: kl, elbo: expected - kl, entropy, expectedLogJoint: expected - kl - entropy, forces: null };
  }

  // The elbo by more nodes, or on a slice by more draws, later, from the worker.
  elboLater(q, take) {
    const asked = this.x, draws = this.isSlice ? [q.loc.length, LATER_PAIRS, 2 * SLOPE_PAIRS, 3] : null;
    this.queue.ask("elbo", { x: asked, q, points: 24, draws }, (terms) => { if (asked === this.x) take(terms); });
  }

  // Where z has more than two numbers: one step of q uphill, later, from the worker, by draws that stay the same.
  stepLater(here, take) {
    const { full_covariance: correlated, latent_dim: D } = this.run, asked = this.x;
    const weights = this.run.decoder.reduce((sum, { weight }) => sum + (weight?.length || 0), 0);
    const pairs = Math.min(MOST_PAIRS, Math.max(SLOPE_PAIRS, D, MULTIPLICATIONS / (2 * (D + 1) * weights)));
    const draws = [D, Math.floor(pairs), Infinity];
    this.queue.ask("step", { x: asked, here, correlated, draws }, (next) => { if (asked === this.x) take(next); });
  }

  fullZ(z) {
    return this.isSlice ? nodesOf([z[0]], [z[1]], this.slice) : Float64Array.from(z);
  }

  // Everything at one z: the decoded image and three log densities.
  at(z) {
    const full = this.fullZ(z), outputs = runNetwork(this.run.decoder, full, 1);
    const logPrior = logPriors(this.run.prior, full, 1)[0];
    const logLikelihood = logLikelihoodAt(this.run, this.x, full, 1)[0];
    return { image: decodedMean(this.run.likelihood, outputs), logPrior, logLikelihood, logJoint: logPrior + logLikelihood };
  }

  // Where z of highest joint density is, on the finest grid there is.
  get top() {
    const { first, second, logJoint } = this.fine || this.grid;
    let best = 0;
    logJoint.forEach((value, at) => { if (value > logJoint[best]) best = at; });
    return [first[Math.floor(best / second.length)], second[best % second.length]];
  }

  // Most of the plane: the nodes reach five deviations of the prior, and little is to be seen that far out.
  get wideView() {
    const share = this.isSlice ? 0.5 : 0.36, { low, high } = this.plane;
    const middle = [0, 1].map((i) => (low[i] + high[i]) / 2), half = [0, 1].map((i) => share * (high[i] - low[i]));
    return { low: middle.map((m, i) => m - half[i]), high: middle.map((m, i) => m + half[i]) };
  }

  // The box around the posterior, square enough to look at.
  get closeView() {
    const box = boxOfPosterior(this.fine || this.grid, 9), side = Math.max(box.high[0] - box.low[0], box.high[1] - box.low[1]);
    const middle = [0, 1].map((i) => (box.low[i] + box.high[i]) / 2);
    return { low: middle.map((m) => m - 0.6 * side), high: middle.map((m) => m + 0.6 * side) };
  }

  // Whether so little of the plane holds the posterior and q that they are better seen from near.
  isNarrow(q) {
    const { low, high } = this.closeView, wide = this.wideView;
    const inside = [0, 1].every((i) => q.loc[i] > low[i] && q.loc[i] < high[i] && q.tril[3 * i] < 0.25 * (high[i] - low[i]));
    return !this.isSlice && inside && high[0] - low[0] < 0.35 * (wide.high[0] - wide.low[0]);
  }

  // Codes of more images on the plane; on a slice their projections.
  get codes() {
    const { codes: { loc }, latent_dim: D } = this.run;
    return Array.from({ length: loc.length / D }, (_, n) => this.onPlane(loc.slice(n * D, (n + 1) * D)));
  }

  onPlane(z) {
    return this.isSlice ? this.alongSlice(z.map((value, d) => value - this.slice.centre[d])) : z;
  }

  // A step in z, as far as it lies in the slice.
  alongSlice(step) {
    if (!this.isSlice) return step;
    return [0, 1].map((k) => step.reduce((sum, value, d) => sum + value * this.slice.directions[k * step.length + d], 0));
  }

  // q on the shown plane: q itself, or on a slice its conditional there.
  planar(q) {
    if (!this.isSlice) return q;
    const D = q.loc.length, e = this.slice.directions, apart = q.loc.map((value, d) => value - this.slice.centre[d]);
    const [v, w] = [0, 1].map((k) => whiten(q, e.slice(k * D, (k + 1) * D)));
    const [a, b, both] = [dot(v, v), dot(w, w), dot(v, w)];
    const det = a * b - both * both, s = Math.sqrt(b / det), t = -both / det / s;
    const along = (k) => dot(apart, e.slice(k * D, (k + 1) * D));
    return { loc: Float64Array.of(along(0), along(1)), tril: Float64Array.of(s, 0, t, Math.sqrt(Math.max(a / det - t * t, 1e-12))) };
  }
}

function dot(a, b) {
  return a.reduce((total, value, i) => total + value * b[i], 0);
}

// L⁻¹ v of q's factor.
function whiten(q, v) {
  const D = v.length, solved = new Float64Array(D);
  for (let i = 0; i < D; i++) {
    let rest = v[i];
    for (let j = 0; j < i; j++) rest -= q.tril[i * D + j] * solved[j];
    solved[i] = rest / q.tril[i * D + i];
  }
  return solved;
}

