// Observations and densities on canvases.
import { channels, colour } from "./dom.js";

// Paint an observation: a picture, or, where it is none, one bar for each number.
export function paint(canvas, x, images) {
  const { picture, low, high } = images, context = canvas.getContext("2d");
  const level = (value) => Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low || 1))));
  if (!picture) return paintBars(canvas, context, x, level);
  const { height, width, channels: C, first } = picture;
  canvas.width = width;
  canvas.height = height;
  const image = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++)
    for (let c = 0; c < 3; c++) {
      const channel = C === 1 ? 0 : c;
      image.data[4 * at + c] = level(x[first ? channel * width * height + at : at * C + channel]);
      image.data[4 * at + 3] = 255;
    }
  context.putImageData(image, 0, 0);
}

function paintBars(canvas, context, x, level) {
  canvas.width = canvas.height = 128;
  context.fillStyle = "#000";
  context.fillRect(0, 0, 128, 128);
  context.fillStyle = "#fff";
  const width = 128 / x.length;
  x.forEach((value, i) => {
    const tall = (level(value) / 255) * 124 + 2;
    context.fillRect(i * width, 128 - tall, Math.max(1, width - (width > 3 ? 1 : 0)), tall);
  });
}

// Shade log densities over one view: patches { first, second, values }, coarse before fine, on one scale.
export function shade(canvas, patches, view, name, logarithmic) {
  const side = 260, context = canvas.getContext("2d"), rgb = channels(colour(name));
  canvas.width = canvas.height = side;
  context.imageSmoothingEnabled = true;
  let [most, least] = [-Infinity, Infinity];
  for (const { values } of patches) for (const value of values) { if (value > most) most = value; if (value < least) least = value; }
  const span = Math.max(5, Math.min(40, most - least));
  for (const { first, second, values } of patches) {
    const tile = document.createElement("canvas"), G = first.length, H = second.length;
    [tile.width, tile.height] = [G, H];
    const image = new ImageData(G, H);
    for (let i = 0; i < G; i++)
      for (let j = 0; j < H; j++) {
        const below = values[i * H + j] - most, at = 4 * ((H - 1 - j) * G + i);
        const strength = logarithmic ? 0.8 * Math.max(0, 1 + below / span) ** 2 : Math.exp(0.6 * below);
        image.data[at] = rgb[0];
        image.data[at + 1] = rgb[1];
        image.data[at + 2] = rgb[2];
        image.data[at + 3] = 235 * strength;
      }
    tile.getContext("2d").putImageData(image, 0, 0);
    const h = first[1] - first[0], k = second[1] - second[0];
    const [left, top] = place(view, side, first[0] - h / 2, second[H - 1] + k / 2);
    const [right, bottom] = place(view, side, first[G - 1] + h / 2, second[0] - k / 2);
    context.clearRect(left, top, right - left, bottom - top);
    context.drawImage(tile, left, top, right - left, bottom - top);
  }
}

// From z to a point of a square of `side`; the second number grows upwards.
export function place(view, side, u, v) {
  return [
    ((u - view.low[0]) / (view.high[0] - view.low[0])) * side,
    (1 - (v - view.low[1]) / (view.high[1] - view.low[1])) * side,
  ];
}

export function unplace(view, side, a, b) {
  return [
    view.low[0] + (a / side) * (view.high[0] - view.low[0]),
    view.low[1] + (1 - b / side) * (view.high[1] - view.low[1]),
  ];
}
