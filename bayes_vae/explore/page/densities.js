// log p(z) and log q(z given x): normals by their lower triangular factors, mixtures of them, flows of couplings.
import { LOG_TWO_PI, logSumExp } from "./arrays.js";
import { runNetwork } from "./network.js";

// q: { loc (D), tril (D × D, row by row) }.
export function normalOf(locs, trils, row, size) {
  return {
    loc: locs.slice(row * size, (row + 1) * size),
    tril: trils.slice(row * size * size, (row + 1) * size * size),
  };
}

export function logNormal(q, z, at = 0) {
  const D = q.loc.length, noise = new Float64Array(D);
  let square = 0, logDet = 0;
  for (let i = 0; i < D; i++) {
    let rest = z[at + i] - q.loc[i];
    for (let j = 0; j < i; j++) rest -= q.tril[i * D + j] * noise[j];
    noise[i] = rest / q.tril[i * D + i];
    square += noise[i] * noise[i];
    logDet += Math.log(q.tril[i * D + i]);
  }
  return -0.5 * square - logDet - 0.5 * D * LOG_TWO_PI;
}

// log p(z) for `count` rows of z.
export function logPriors(prior, z, count) {
  const D = z.length / count;
  if (prior.kind === "flow") return logFlow(prior, z, count, D);
  const C = prior.log_weights.length;
  const parts = Array.from({ length: C }, (_, c) => normalOf(prior.loc, prior.scale_tril, c, D));
  const result = new Float64Array(count), terms = new Float64Array(C);
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < C; c++) terms[c] = prior.log_weights[c] + logNormal(parts[c], z, n * D);
    result[n] = logSumExp(terms);
  }
  return result;
}

export function isOneNormal(prior) {
  return prior.kind === "mixture" && prior.log_weights.length === 1;
}

// From z back to standard normal noise; log |det| of each coupling is what it was stretched by.
function logFlow(prior, z, count, D) {
  const result = new Float64Array(count);
  let rows = z.map((value, i) => (value - number(prior.loc, i % D)) / number(prior.scale, i % D));
  for (let d = 0; d < D; d++) for (let n = 0; n < count; n++) result[n] -= Math.log(number(prior.scale, d));
  for (let place = prior.couplings.length - 1; place >= 0; place--) {
    const step = prior.couplings[place], moved = D - step.kept;
    const kept = new Float64Array(count * step.kept);
    for (let n = 0; n < count; n++) for (let i = 0; i < step.kept; i++) kept[n * step.kept + i] = rows[n * D + i];
    const outputs = runNetwork(step.steps, kept, count), undone = Float64Array.from(rows);
    for (let n = 0; n < count; n++)
      for (let i = 0; i < moved; i++) {
        const shift = outputs[n * 2 * moved + i], at = n * D + step.kept + i;
        const logScale = Math.min(step.most, Math.max(step.least, outputs[n * 2 * moved + moved + i]));
        undone[at] = (rows[at] - shift) * Math.exp(-logScale);
        result[n] -= logScale;
      }
    rows = place > 0 ? reversed(undone, D) : undone;
  }
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < D; i++) result[n] -= 0.5 * (rows[n * D + i] ** 2 + LOG_TWO_PI);
  }
  return result;
}

function number(value, i) {
  return typeof value === "number" ? value : value[value.length > 1 ? i : 0];
}

function reversed(rows, D) {
  return rows.map((_, at) => rows[at - (at % D) + D - 1 - (at % D)]);
}

// KL(q to one normal), closed form: −log det L_q + log det L_p + ½ (|L_p⁻¹ L_q|² + |L_p⁻¹ (m_q − m_p)|² − D).
export function klOfNormals(q, p) {
  const D = q.loc.length;
  let total = -D / 2;
  for (let i = 0; i < D; i++) total += Math.log(p.tril[i * D + i]) - Math.log(q.tril[i * D + i]);
  for (let column = 0; column <= D; column++) {
    const solved = new Float64Array(D);
    for (let i = 0; i < D; i++) {
      let rest = column < D ? q.tril[i * D + column] : q.loc[i] - p.loc[i];
      for (let j = 0; j < i; j++) rest -= p.tril[i * D + j] * solved[j];
      solved[i] = rest / p.tril[i * D + i];
      total += 0.5 * solved[i] * solved[i];
    }
  }
  return total;
}

export function entropyOf(q) {
  const D = q.loc.length;
  let total = 0.5 * D * (1 + LOG_TWO_PI);
  for (let i = 0; i < D; i++) total += Math.log(q.tril[i * D + i]);
  return total;
}

// q of an image by the run's encoder; null where the page has none.
export function encode(encoder, x, size) {
  if (!encoder) return null;
  const output = runNetwork(encoder.steps, x, 1), loc = output.slice(0, size), tril = new Float64Array(size * size);
  for (let i = 0; i < size; i++) tril[i * size + i] = scaleOf(encoder, output[size + i]);
  if (encoder.output === "full-covariance") {
    for (let i = 1, at = 2 * size; i < size; i++) for (let j = 0; j < i; j++) tril[i * size + j] = output[at++];
  }
  return { loc, tril };
}

function scaleOf(encoder, raw) {
  switch (encoder.output) {
    case "loc-and-scale": return raw;
    case "loc-and-variance": return Math.sqrt(raw);
    case "loc-and-log-scale": return Math.exp(raw);
    case "loc-and-log-variance": return Math.exp(raw / 2);
    default: return Math.log1p(Math.exp(raw + encoder.offset)) + encoder.floor;
  }
}
