// A network as steps: the same numbers as in Python, rows of z in, rows of the likelihood's parameters out.
import { softplus } from "./arrays.js";

const ACTIVATIONS = {
  tanh: Math.tanh,
  relu: (u) => (u > 0 ? u : 0),
  sigmoid: (u) => 1 / (1 + Math.exp(-u)),
  softplus,
  elu: (u) => (u > 0 ? u : Math.expm1(u)),
  silu: (u) => u / (1 + Math.exp(-u)),
};

// rows: Float64Array of count × width. Returns count × width of the last step.
export function runNetwork(steps, rows, count) {
  for (const step of steps) {
    if (step.step === "linear") rows = linear(step, rows, count);
    else if (step.step === "add") rows = added(step.value, rows);
    else if (step.step === "conv") rows = convolution(step, rows, count);
    else if (step.step === "conv-transpose") rows = transposedConvolution(step, rows, count);
    else rows = rows.map(ACTIVATIONS[step.step]);
  }
  return rows;
}

// Weights are (outputs, inputs). Four rows at once, so that each weight is read once for them.
function linear({ weight, bias }, rows, count) {
  const outputs = bias.length, inputs = weight.length / outputs;
  const result = new Float64Array(count * outputs);
  let row = 0;
  for (; row + 4 <= count; row += 4) {
    const a = row * inputs, b = a + inputs, c = b + inputs, d = c + inputs, to = row * outputs;
    for (let o = 0; o < outputs; o++) {
      let p = bias[o], q = p, r = p, s = p;
      for (let i = 0, w = o * inputs; i < inputs; i++, w++) {
        const value = weight[w];
        p += value * rows[a + i]; q += value * rows[b + i]; r += value * rows[c + i]; s += value * rows[d + i];
      }
      result[to + o] = p; result[to + outputs + o] = q;
      result[to + 2 * outputs + o] = r; result[to + 3 * outputs + o] = s;
    }
  }
  for (; row < count; row++) {
    for (let o = 0; o < outputs; o++) {
      let p = bias[o];
      for (let i = 0, w = o * inputs, a = row * inputs; i < inputs; i++) p += weight[w + i] * rows[a + i];
      result[row * outputs + o] = p;
    }
  }
  return result;
}

function added(value, rows) {
  const size = value.length;
  return rows.map((number, i) => number + value[i % size]);
}

// Weights are (outputs, inputs, kernel, kernel).
function convolution({ weight, bias, stride, padding, from, to }, rows, count) {
  const [inputs, height, width] = from, [outputs, above, across] = to;
  const side = kernelSize(weight, inputs, outputs), result = new Float64Array(count * outputs * above * across);
  for (let n = 0, t = 0; n < count; n++)
    for (let o = 0; o < outputs; o++)
      for (let y = 0; y < above; y++)
        for (let x = 0; x < across; x++, t++) {
          let sum = bias[o];
          for (let i = 0; i < inputs; i++)
            for (let v = 0; v < side; v++) {
              const row = y * stride[0] - padding[0] + v;
              if (row < 0 || row >= height) continue;
              for (let u = 0; u < side; u++) {
                const column = x * stride[1] - padding[1] + u;
                if (column < 0 || column >= width) continue;
                sum += weight[((o * inputs + i) * side + v) * side + u] *
                  rows[((n * inputs + i) * height + row) * width + column];
              }
            }
          result[t] = sum;
        }
  return result;
}

// Weights are (inputs, outputs, kernel, kernel).
function transposedConvolution({ weight, bias, stride, padding, from, to }, rows, count) {
  const [inputs, height, width] = from, [outputs, above, across] = to;
  const side = kernelSize(weight, inputs, outputs), plane = above * across;
  const result = new Float64Array(count * outputs * plane);
  for (let n = 0; n < count; n++) {
    for (let o = 0; o < outputs; o++) result.fill(bias[o], (n * outputs + o) * plane, (n * outputs + o + 1) * plane);
    for (let i = 0; i < inputs; i++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const value = rows[((n * inputs + i) * height + y) * width + x];
          if (value === 0) continue;
          for (let o = 0; o < outputs; o++)
            for (let v = 0; v < side; v++) {
              const row = y * stride[0] - padding[0] + v;
              if (row < 0 || row >= above) continue;
              for (let u = 0; u < side; u++) {
                const column = x * stride[1] - padding[1] + u;
                if (column < 0 || column >= across) continue;
                result[(n * outputs + o) * plane + row * across + column] +=
                  value * weight[((i * outputs + o) * side + v) * side + u];
              }
            }
        }
  }
  return result;
}

function kernelSize(weight, inputs, outputs) {
  return Math.round(Math.sqrt(weight.length / (inputs * outputs)));
}
