// log p(x given z) of each family: natural logarithms, summed over the numbers of an observation.
import { LOG_TWO_PI, logSumExp, softplus } from "./arrays.js";

// Each takes the decoder's row at `at`, the observation x of P numbers, and the family's own numbers.
const FAMILIES = {
  bernoulli: {
    term: (row, at, i, P, x) => x * row[at + i] - softplus(row[at + i]),
    mean: (row, at, i) => 1 / (1 + Math.exp(-row[at + i])),
  },
  "continuous-bernoulli": {
    term: (row, at, i, P, x) => x * row[at + i] - logNormalizer(row[at + i]),
    mean: (row, at, i) => meanOfLogit(row[at + i]),
  },
  normal: {
    term: (row, at, i, P, x, about) => {
      const scale = scaleAt(row, at, i, P, about), apart = (x - row[at + i]) / scale;
      return -0.5 * apart * apart - Math.log(scale) - 0.5 * LOG_TWO_PI;
    },
    mean: (row, at, i) => row[at + i],
  },
  "discretized-logistic": {
    term: (row, at, i, P, x, about) => logisticBin(x, row[at + i], softplus(row[at + P + i]) + about.floor),
    mean: (row, at, i) => Math.min(1, Math.max(0, row[at + i])),
  },
  categorical: {
    term: (row, at, i, P, x, about) => row[at + Math.round(x) * P + i] - logTotal(row, at, i, P, about.per_number),
    mean: (row, at, i, P, about) => {
      const total = logTotal(row, at, i, P, about.per_number);
      let mean = 0;
      for (let c = 1; c < about.per_number; c++) mean += c * Math.exp(row[at + c * P + i] - total);
      return mean;
    },
  },
  laplace: {
    term: (row, at, i, P, x, about) => {
      const scale = scaleAt(row, at, i, P, about);
      return -Math.abs(x - row[at + i]) / scale - Math.log(2 * scale);
    },
    mean: (row, at, i) => row[at + i],
  },
  poisson: {
    term: (row, at, i, P, x) => x * row[at + i] - Math.exp(row[at + i]) - logGamma(x + 1),
    mean: (row, at, i) => Math.exp(row[at + i]),
  },
  "negative-binomial": {
    term: (row, at, i, P, x, about) => logNegativeBinomial(x, row[at + i], about.log_dispersion[i]),
    mean: (row, at, i) => Math.exp(row[at + i]),
  },
  "zero-inflated-negative-binomial": {
    term: (row, at, i, P, x, about) => {
      const gate = row[at + P + i], counted = logNegativeBinomial(x, row[at + i], about.log_dispersion[i]) - softplus(gate);
      return x === 0 ? logSumExp([-softplus(-gate), counted]) : counted;
    },
    mean: (row, at, i, P) => Math.exp(row[at + i] - softplus(row[at + P + i])),
  },
  // Each number of x has the family of its group; of[i] is the group of the i-th.
  columns: {
    term: (row, at, i, P, x, about) => FAMILIES[about.groups[about.of[i]].family].term(row, at, i, P, x, about.groups[about.of[i]]),
    mean: (row, at, i, P, about) => FAMILIES[about.groups[about.of[i]].family].mean(row, at, i, P, about.groups[about.of[i]]),
  },
};

// log p(x given z) for `count` rows of the decoder's outputs.
export function logLikelihoods(about, outputs, count, x) {
  const { term } = FAMILIES[about.family], P = x.length, width = P * about.per_number;
  const result = new Float64Array(count);
  for (let n = 0; n < count; n++) {
    let total = 0;
    for (let i = 0, at = n * width; i < P; i++) total += term(outputs, at, i, P, x[i], about);
    result[n] = total;
  }
  return result;
}

// Families whose log density is x · f(z) less a normalizer, which does not depend on x and can be kept.
const NORMALIZERS = { bernoulli: softplus, "continuous-bernoulli": logNormalizer };

export function normalizersOf(about, outputs, count) {
  const normalizer = NORMALIZERS[about.family], width = outputs.length / count;
  if (!normalizer) return null;
  return Float64Array.from({ length: count }, (_, n) => {
    let total = 0;
    for (let i = n * width; i < (n + 1) * width; i++) total += normalizer(outputs[i]);
    return total;
  });
}

// As logLikelihoods, from outputs and normalizers that were kept: the pixels that are not 0 are what is summed.
export function logLikelihoodsKept(outputs, normalizers, x) {
  const on = [];
  x.forEach((value, i) => { if (value !== 0) on.push(i); });
  return normalizers.map((normalizer, n) => {
    let total = -normalizer;
    for (const i of on) total += x[i] * outputs[n * x.length + i];
    return total;
  });
}

// The mean of p(x given z) for one row of outputs: the decoded image.
export function decodedMean(about, outputs) {
  const { mean } = FAMILIES[about.family], P = outputs.length / about.per_number;
  return Float64Array.from({ length: P }, (_, i) => mean(outputs, 0, i, P, about));
}

function scaleAt(row, at, i, P, about) {
  if (about.noise !== "per-pixel") return about.scale;
  return about.exponential ? Math.exp(row[at + P + i]) : softplus(row[at + P + i]) + about.floor;
}

// A(l) = log((e^l − 1) / l) of the continuous Bernoulli, by its series near 0.
function logNormalizer(l) {
  if (Math.abs(l) < 0.05) return l / 2 + (l * l) / 24 - l ** 4 / 2880;
  return Math.max(l, 0) + Math.log(-Math.expm1(-Math.abs(l))) - Math.log(Math.abs(l));
}

function meanOfLogit(l) {
  return Math.abs(l) < 0.05 ? 0.5 + l / 12 - l ** 3 / 720 : -1 / Math.expm1(-l) - 1 / l;
}

// The mass of a level v/255 under a logistic; the lowest and the highest level take the tails.
function logisticBin(x, loc, scale) {
  const level = Math.round(x * 255);
  const upper = ((level + 0.5) / 255 - loc) / scale, lower = ((level - 0.5) / 255 - loc) / scale;
  if (level === 0) return -softplus(-upper);
  if (level === 255) return -softplus(lower);
  return -softplus(-upper) - softplus(lower) + Math.log(-Math.expm1(-1 / (255 * scale)));
}

function logTotal(row, at, i, P, categories) {
  let most = -Infinity;
  for (let c = 0; c < categories; c++) most = Math.max(most, row[at + c * P + i]);
  let total = 0;
  for (let c = 0; c < categories; c++) total += Math.exp(row[at + c * P + i] - most);
  return most + Math.log(total);
}

function logNegativeBinomial(x, logMean, logDispersion) {
  const r = Math.exp(logDispersion), logit = logMean - logDispersion;
  return logGamma(x + r) - logGamma(r) - logGamma(x + 1) - r * softplus(logit) - x * softplus(-logit);
}

// log Γ(u) for u > 0: the recurrence up to 15, then Stirling's series, whose error there is below 1e-15.
export function logGamma(u) {
  let shift = 0;
  while (u < 15) { shift -= Math.log(u); u += 1; }
  const v = 1 / (u * u);
  const series = (1 / 12 - v * (1 / 360 - v * (1 / 1260 - v * (1 / 1680 - v * (1 / 1188 - v * 691 / 360360))))) / u;
  return shift + (u - 0.5) * Math.log(u) - u + 0.5 * LOG_TWO_PI + series;
}
