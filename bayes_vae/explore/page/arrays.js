// Numbers as Python wrote them: base64 back into typed arrays, in float64 where they are computed with.

const TYPES = { float64: Float64Array, float32: Float32Array, uint8: Uint8Array, int32: Int32Array };

export function decodeArray(packed) {
  const text = atob(packed.base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const raw = new TYPES[packed.array](bytes.buffer);
  return Float64Array.from(raw);
}

// Every packed array within some content, replaced by its numbers; shapes are read from the lengths beside it.
export function unpack(content) {
  if (content === null || typeof content !== "object") return content;
  if (typeof content.base64 === "string") return decodeArray(content);
  if (Array.isArray(content)) return content.map(unpack);
  return Object.fromEntries(Object.entries(content).map(([key, value]) => [key, unpack(value)]));
}

export function logSumExp(values) {
  let most = -Infinity;
  for (const value of values) if (value > most) most = value;
  if (most === -Infinity) return -Infinity;
  let total = 0;
  for (const value of values) total += Math.exp(value - most);
  return most + Math.log(total);
}

export function softplus(u) {
  return u > 0 ? u + Math.log1p(Math.exp(-u)) : Math.log1p(Math.exp(u));
}

export const LOG_TWO_PI = Math.log(2 * Math.PI);
