// The terms of Bayes' rule of one observation on a plane of z: grids, the ELBO of any q, importance weights.
import { logSumExp } from "./arrays.js";
import { entropyOf, isOneNormal, klOfNormals, logNormal, logPriors, normalOf } from "./densities.js";
import { logLikelihoods } from "./likelihood.js";
import { runNetwork } from "./network.js";

const ROWS_AT_ONCE = 256;

export function evenly(low, high, count) {
  return Float64Array.from({ length: count }, (_, i) => low + (high - low) * (i / (count - 1)));
}

// The nodes of a plane as rows of z. On a slice of a larger latent, z = centre + u e₁ + v e₂.
export function nodesOf(first, second, slice = null) {
  const G = first.length, H = second.length;
  if (!slice) {
    const z = new Float64Array(2 * G * H);
    for (let i = 0, at = 0; i < G; i++) for (let j = 0; j < H; j++) { z[at++] = first[i]; z[at++] = second[j]; }
    return z;
  }
  const D = slice.centre.length, z = new Float64Array(D * G * H);
  for (let i = 0, at = 0; i < G; i++)
    for (let j = 0; j < H; j++)
      for (let d = 0; d < D; d++, at++)
        z[at] = slice.centre[d] + first[i] * slice.directions[d] + second[j] * slice.directions[D + d];
  return z;
}

export function logLikelihoodAt(model, x, z, count) {
  const D = z.length / count, result = new Float64Array(count);
  for (let start = 0; start < count; start += ROWS_AT_ONCE) {
    const some = Math.min(ROWS_AT_ONCE, count - start);
    const outputs = runNetwork(model.decoder, z.subarray(start * D, (start + some) * D), some);
    result.set(logLikelihoods(model.likelihood, outputs, some, x), start);
  }
  return result;
}

// Prior, likelihood and evidence on one grid: the same sums over the same nodes as bayes_rule_on_grid in Python.
export function termsOnGrid(model, x, first, second, slice = null) {
  const count = first.length * second.length, z = nodesOf(first, second, slice);
  const logPrior = logPriors(model.prior, z, count), logLikelihood = logLikelihoodAt(model, x, z, count);
  return withEvidence(first, second, logPrior, logLikelihood);
}

export function withEvidence(first, second, logPrior, logLikelihood) {
  const logCell = Math.log((first[1] - first[0]) * (second[1] - second[0]));
  const logJoint = logPrior.map((value, i) => value + logLikelihood[i]);
  return { first, second, logCell, logPrior, logLikelihood, logJoint, logEvidence: logSumExp(logJoint) + logCell };
}

// Where the posterior is: the box around the nodes whose joint density is within `drop` nats of the highest.
export function boxOfPosterior(grid, drop = 25) {
  const { first, second, logJoint } = grid, most = logJoint.reduce((a, b) => Math.max(a, b), -Infinity);
  let [a, b, c, d] = [first.length, -1, second.length, -1];
  logJoint.forEach((value, at) => {
    if (value < most - drop) return;
    const i = Math.floor(at / second.length), j = at % second.length;
    [a, b, c, d] = [Math.min(a, i), Math.max(b, i), Math.min(c, j), Math.max(d, j)];
  });
  const [h, k] = [first[1] - first[0], second[1] - second[0]];
  return { low: [first[a] - h, second[c] - k], high: [first[b] + h, second[d] + k] };
}

// Mean and covariance of the exact posterior on a grid, as a normal.
export function momentsOnGrid(grid) {
  const { first, second, logJoint, logEvidence, logCell } = grid;
  let [m1, m2, s11, s22, s12] = [0, 0, 0, 0, 0];
  const each = (take) => logJoint.forEach((value, at) => {
    take(Math.exp(value + logCell - logEvidence), first[Math.floor(at / second.length)], second[at % second.length]);
  });
  each((w, u, v) => { m1 += w * u; m2 += w * v; });
  each((w, u, v) => { s11 += w * (u - m1) ** 2; s22 += w * (v - m2) ** 2; s12 += w * (u - m1) * (v - m2); });
  const a = Math.sqrt(Math.max(s11, 1e-10)), b = s12 / a, c = Math.sqrt(Math.max(s22 - b * b, 1e-10));
  return { loc: Float64Array.of(m1, m2), tril: Float64Array.of(a, 0, b, c) };
}

// KL(q to the exact posterior) by the sum over the grid, q normalized over it: as inference_gap in Python.
export function klOnGrid(grid, q) {
  const { first, second, logJoint, logEvidence, logCell } = grid, H = second.length;
  const logQ = logJoint.map((_, at) => logNormal(q, [first[Math.floor(at / H)], second[at % H]]));
  const logMass = logSumExp(logQ) + logCell;
  let total = 0;
  logQ.forEach((value, at) => {
    const p = Math.exp(value - logMass);
    if (p > 0) total += p * (value - logMass - logJoint[at] + logEvidence);
  });
  return total * Math.exp(logCell);
}

// Nodes and weights of E over a standard normal: roots of the Hermite polynomial He_n, found by Newton's method.
export function hermiteRule(n) {
  const nodes = new Float64Array(n), weights = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let u = 2 * Math.sqrt(n) * Math.cos((Math.PI * (i + 0.75)) / (n + 0.5)) * 0.97;
    const value = () => {
      let [before, now] = [0, 1];
      for (let k = 0; k < n; k++) [before, now] = [now, (u * now - Math.sqrt(k) * before) / Math.sqrt(k + 1)];
      return [now, Math.sqrt(n) * before];
    };
    for (let round = 0; round < 100; round++) {
      const [height, slope] = value();
      let pull = 0;
      for (let j = 0; j < i; j++) pull += 1 / (u - nodes[j]);
      const move = height / (slope - height * pull);
      u -= move;
      if (Math.abs(move) < 1e-15 * Math.max(1, Math.abs(u))) break;
    }
    const [, slope] = value();
    nodes[i] = u;
    weights[i] = 1 / (slope / Math.sqrt(n)) ** 2 / n;
  }
  return { nodes, weights };
}

const RULES = new Map();

// Noise on the plane, shape (n², 2), and weights that sum to one.
export function planeRule(n) {
  if (!RULES.has(n)) {
    const { nodes, weights } = hermiteRule(n), noise = nodesOf(nodes, nodes), shares = new Float64Array(n * n);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) shares[i * n + j] = weights[i] * weights[j];
    RULES.set(n, { noise, shares });
  }
  return RULES.get(n);
}

function placed(q, noise, count) {
  const D = q.loc.length, z = new Float64Array(count * D);
  for (let n = 0; n < count; n++)
    for (let i = 0; i < D; i++) {
      let value = q.loc[i];
      for (let j = 0; j <= i; j++) value += q.tril[i * D + j] * noise[n * D + j];
      z[n * D + i] = value;
    }
  return z;
}

// Every term of the ELBO of a normal q over the plane by n² nodes, and the two forces on q.
export function elboTerms(model, x, q, n = 16, rule = null) {
  const { noise, shares } = rule || planeRule(n), count = shares.length, z = placed(q, noise, count);
  const logLikelihood = logLikelihoodAt(model, x, z, count), logPrior = logPriors(model.prior, z, count);
  const logQ = Float64Array.from({ length: count }, (_, k) => logNormal(q, z, k * q.loc.length));
  const mean = (values) => shares.reduce((total, share, k) => total + share * values[k], 0);
  const likelihood = mean(logLikelihood), exact = isOneNormal(model.prior);
  const kl = exact
    ? klOfNormals(q, normalOf(model.prior.loc, model.prior.scale_tril, 0, q.loc.length))
    : mean(logQ.map((value, k) => value - logPrior[k]));
  const entropy = entropyOf(q);
  const forces = rule ? rule.slopes ? forcesByDifferences(model, x, q, rule, logLikelihood, logPrior) : null
    : { likelihood: pushOn(q, noise, shares, logLikelihood), prior: pushOn(q, noise, shares, logPrior) };
  return {
    expectedLogLikelihood: likelihood, klToPrior: kl, elbo: likelihood - kl, entropy,
    expectedLogJoint: likelihood - kl - entropy, forces,
  };
}

// As pushOn, from the slopes along each number of the noise: E[∂f/∂ε] and E[∂f/∂ε εᵀ]. Few draws are enough for them.
function forcesByDifferences(model, x, q, { noise, shares, slopes }, logLikelihood, logPrior) {
  const D = q.loc.length, few = Math.min(slopes, shares.length), moved = new Float64Array(few * D * D), step = 1e-5;
  for (let k = 0; k < few; k++)
    for (let i = 0; i < D; i++) {
      const at = (k * D + i) * D;
      moved.set(noise.subarray(k * D, (k + 1) * D), at);
      moved[at + i] += step;
    }
  const z = placed(q, moved, few * D);
  const push = (there, here) => {
    const mean = new Float64Array(D), factor = new Float64Array(D * D);
    for (let k = 0; k < few; k++)
      for (let i = 0; i < D; i++) {
        const slope = (there[k * D + i] - here[k]) / step / few;
        mean[i] += slope;
        for (let j = 0; j <= i; j++) factor[i * D + j] += slope * noise[k * D + j];
      }
    return { mean, factor };
  };
  return { likelihood: push(logLikelihoodAt(model, x, z, few * D), logLikelihood), prior: push(logPriors(model.prior, z, few * D), logPrior) };
}

// The same antithetic draws for every q, so that the ELBO moves smoothly with it; the first `slopes` of them give the forces.
export function drawsRule(D, pairs, slopes = 0, seed = 1) {
  const next = normalNoise(seed), noise = new Float64Array(2 * pairs * D);
  for (let k = 0; k < pairs; k++)
    for (let i = 0; i < D; i++) {
      noise[2 * k * D + i] = next();
      noise[(2 * k + 1) * D + i] = -noise[2 * k * D + i];
    }
  return { noise, shares: new Float64Array(2 * pairs).fill(0.5 / pairs), slopes };
}

// In q's own units: E[ε f] pushes the mean, E[(ε εᵀ − I) f] the factor (Price's and Bonnet's theorems).
function pushOn(q, noise, shares, f) {
  const D = q.loc.length, mean = new Float64Array(D), factor = new Float64Array(D * D);
  let middle = 0;
  shares.forEach((share, k) => { middle += share * f[k]; });
  shares.forEach((share, k) => {
    const value = share * (f[k] - middle);
    for (let i = 0; i < D; i++) {
      mean[i] += value * noise[k * D + i];
      for (let j = 0; j <= i; j++)
        factor[i * D + j] += value * (noise[k * D + i] * noise[k * D + j] - (i === j ? 1 : 0));
    }
  });
  return { mean, factor };
}

// One step of q uphill, in its own units, so that a narrow q takes small steps; the gain of the last step decides the next.
export function climb(q, forces, pace, correlated) {
  const D = q.loc.length, loc = Float64Array.from(q.loc), grown = new Float64Array(D * D);
  const limit = (value, most) => Math.max(-most, Math.min(most, value));
  for (let i = 0; i < D; i++) {
    for (let j = 0; j <= i; j++) {
      const push = limit(pace * (forces.likelihood.mean[j] + forces.prior.mean[j]), 1);
      loc[i] += q.tril[i * D + j] * push;
      const pull = forces.likelihood.factor[i * D + j] + forces.prior.factor[i * D + j] + (i === j ? 1 : 0);
      grown[i * D + j] = i === j ? Math.exp(limit((pace * pull) / 2, 0.4)) : correlated ? limit(pace * pull, 0.4) : 0;
    }
  }
  const tril = new Float64Array(D * D);
  for (let i = 0; i < D; i++)
    for (let j = 0; j <= i; j++)
      for (let k = j; k <= i; k++) tril[i * D + j] += q.tril[i * D + k] * grown[k * D + j];
  return { loc, tril };
}

// One step of the climb to the best q of the family: a step that would lower the ELBO is halved until it does not.
// Returns where it is then, or null where it is at the top.
export function stepUp(model, x, { q, terms, pace }, correlated, n, rule = null, least = 1e-7) {
  for (; pace > 1e-4; pace /= 2) {
    const next = climb(q, terms.forces, pace, correlated), found = elboTerms(model, x, next, n, rule);
    if (!(found.elbo > terms.elbo)) continue;
    return { q: next, terms: found, pace: found.elbo - terms.elbo < least ? 0 : Math.min(1, pace * 1.3) };
  }
  return null;
}

// The climb step by step.
export function* climbing(model, x, q, correlated, n = 12, most = 300) {
  let here = { q, terms: elboTerms(model, x, q, n), pace: 0.5 };
  for (let step = 0; here && step < most; step++) {
    yield here;
    here = stepUp(model, x, here, correlated, n);
  }
}

// A small generator of random numbers with a seed (mulberry32), and normal noise from it.
export function normalNoise(seed) {
  let state = Math.imul(seed + 1, 2654435761) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

// K draws from q with their log importance weights log p(x, z) − log q(z given x).
export function weighedDraws(model, x, q, count, seed) {
  const noise = Float64Array.from({ length: count * q.loc.length }, normalNoise(seed)), z = placed(q, noise, count);
  const logLikelihood = logLikelihoodAt(model, x, z, count), logPrior = logPriors(model.prior, z, count);
  const D = q.loc.length;
  return { z, logWeights: logPrior.map((value, k) => value + logLikelihood[k] - logNormal(q, z, k * D)) };
}

// L_k: the mean over groups of k draws of log mean w.
export function boundOf(logWeights, k) {
  const groups = Math.floor(logWeights.length / k);
  let total = 0;
  for (let g = 0; g < groups; g++) total += logSumExp(logWeights.subarray(g * k, (g + 1) * k)) - Math.log(k);
  return groups ? total / groups : NaN;
}

// k̂: the shape of a generalized Pareto fitted to the largest weights (Zhang and Stephens 2009, as ArviZ does).
export function paretoK(logWeights) {
  const K = logWeights.length;
  if (K < 30) return NaN;
  const most = logWeights.reduce((a, b) => Math.max(a, b), -Infinity);
  const ordered = Float64Array.from(logWeights, (value) => Math.max(value - most, -700)).sort();
  const cutoff = ordered[K - 1 - Math.ceil(Math.min(K / 5, 3 * Math.sqrt(K)))];
  const excess = Array.from(ordered.filter((value) => value > cutoff), (value) => Math.exp(value) - Math.exp(cutoff));
  const n = excess.length, quarter = n ? excess[Math.floor(n / 4 + 0.5) - 1] : 0;
  if (n < 6 || !(quarter > excess[0])) return Infinity;
  return generalizedPareto(excess, quarter);
}

function generalizedPareto(excess, quarter) {
  const n = excess.length, m = 30 + Math.floor(Math.sqrt(n));
  const thetas = [], scores = [];
  const shape = (theta) => excess.reduce((total, value) => total + Math.log1p(-theta * value), 0) / n;
  for (let i = 1; i <= m; i++) {
    const theta = 1 / excess[n - 1] + (1 - Math.sqrt(m / (i - 0.5))) / (3 * quarter);
    const k = shape(theta);
    thetas.push(theta);
    scores.push(n * (Math.log(-theta / k) - k - 1));
  }
  const total = logSumExp(scores);
  const theta = thetas.reduce((sum, value, i) => sum + value * Math.exp(scores[i] - total), 0);
  return (n * shape(theta) + 5) / (n + 10);
}

export function paretoKThreshold(K) {
  return K < 30 ? -Infinity : Math.min(1 - 1 / Math.log10(K), 0.7);
}

