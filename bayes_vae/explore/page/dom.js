// Small helpers of the page: elements whose text is text, numbers as they are written, colours of the terms.

// make("button", { type: "button", class: "x", onclick: f }, "text", child, …). Text is never markup.
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// 12 as ₁₂; counted from 1, as the numbers of z are written.
export const subscript = (place) => String(place + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);

export const find = (id) => document.getElementById(id);

export function nats(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

const COLOURS = new Map();

// Read once: to ask for a style in the middle of changes makes the browser lay out the page.
export function colour(name) {
  if (!COLOURS.has(name)) COLOURS.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return COLOURS.get(name);
}

export function forgetColours() {
  COLOURS.clear();
}

export function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function say(text) {
  find("spoken").textContent = text;
}

// A row of buttons of which one is chosen.
export function choice(name, options, chosen, pick) {
  const buttons = options.map(([value, text]) => make("button", {
    type: "button", "aria-pressed": String(value === chosen), "data-value": value,
    onclick: () => { mark(value); pick(value); },
  }, text));
  const mark = (value) => buttons.forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.value === value)));
  const element = make("div", { class: "group", role: "group", "aria-label": name }, buttons);
  return { element, mark };
}

export function select(name, options, chosen, pick) {
  const element = make("select", { "aria-label": name, onchange: () => pick(Number(element.value)) },
    options.map((text, value) => make("option", { value, selected: value === chosen }, text)));
  return element;
}

export function slider(text, { low, high, step, value }, change) {
  const output = make("output", {}, "");
  const input = make("input", { type: "range", "aria-label": text, min: low, max: high, step, value, oninput: () => change(Number(input.value)) });
  return { element: make("label", { class: "slide" }, make("span", {}, text), input, output), input, output };
}

// The Python call that gives the same number: shown on hover and focus, copied on click.
export function call(code, left = false) {
  const button = make("button", { type: "button", "aria-label": `Python: ${code}. Copy` }, "Python");
  button.addEventListener("click", async () => {
    let copied = true;
    try { await navigator.clipboard.writeText(code); } catch { copied = copyBySelection(code); }
    button.textContent = copied ? "Copied" : "Python";
    say(copied ? "Copied" : "Select the text to copy it");
    setTimeout(() => { button.textContent = "Python"; }, 1500);
  });
  return make("span", { class: left ? "call left" : "call" }, button, make("span", { class: "tip", role: "tooltip" }, make("code", {}, code)));
}

function copyBySelection(text) {
  const area = make("textarea", { class: "unseen", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
