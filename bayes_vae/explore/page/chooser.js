// Which image: thumbnails with log p(x) and k̂, sorted by either, or one that is drawn here.
import { choice, find, make, nats, say } from "./dom.js";
import { paint } from "./pictures.js";

export class Chooser {
  constructor(app) {
    this.app = app;
    const { run } = app.engine;
    this.thumbs = run.images.index.map((_, place) => this.thumb(place));
    this.order = choice("Sort the images", [["index", "In order"], ["log_evidence", "log p(x)"], ["pareto_k", "k̂"]], app.state.sort,
      (value) => { app.set({ sort: value }, "sort"); });
    find("sorting").append(this.order.element);
    this.sort();
    this.drawing();
  }

  thumb(place) {
    const canvas = make("canvas", { class: "picture", "aria-hidden": "true" });
    paint(canvas, this.app.engine.imageAt(place), this.app.engine.run.images);
    const evidence = make("span"), k = make("span", { class: "k" });
    const element = make("button", { type: "button", class: "thumb", onclick: () => this.app.chooseImage(place) }, canvas, evidence, k);
    return { element, place, evidence, k };
  }

  sort() {
    const { sort } = this.app.state, { figures } = this.app.engine.run;
    const key = ({ place }) => (sort === "index" ? place : sort === "pareto_k" ? -figures.pareto_k[place] : figures.log_evidence[place]);
    find("thumbs").replaceChildren(...[...this.thumbs].sort((a, b) => key(a) - key(b)).map(({ element }) => element));
  }

  render(reason) {
    const { engine, state } = this.app, { figures } = engine.run;
    if (reason === "sort" || reason === "run") this.sort();
    if (!["image", "run", "start"].includes(reason)) return;
    this.order.mark(state.sort);
    for (const { element, place, evidence, k } of this.thumbs) {
      const shape = figures.pareto_k[place], high = shape > figures.pareto_k_threshold;
      evidence.textContent = nats(figures.log_evidence[place], 1);
      k.textContent = `k̂ ${nats(shape)}`;
      k.className = high ? "k high" : "k";
      element.setAttribute("aria-pressed", String(!state.drawn && place === state.image));
      element.setAttribute("aria-label", `Image ${place}: log p(x) ${nats(figures.log_evidence[place], 1)} nats, k̂ ${nats(shape)}${high ? ", too high to trust importance sampling" : ""}`);
    }
  }

  // A sheet of pixels: pointer or finger paints; arrow keys move a cursor and space turns its pixel.
  drawing() {
    const { engine } = this.app, { picture, binary, low, high } = engine.run.images;
    const possible = picture && picture.channels === 1 && low === 0 && high === 1 && !engine.isSlice;
    if (!possible) return;
    const { height, width } = picture, pixels = new Float64Array(height * width), cursor = [Math.floor(height / 2), Math.floor(width / 2)];
    const sheet = make("canvas", { class: "picture sheet", tabindex: "0", role: "application", "aria-label": `A sheet of ${height} by ${width} pixels. Arrow keys move, space flips a pixel.` });
    const show = () => paint(sheet, pixels, engine.run.images);
    const brush = (row, column, value) => {
      const size = height > 16 ? 1 : 0;
      for (let v = -size; v <= size; v++)
        for (let u = -size; u <= size; u++) {
          const [r, c] = [row + v, column + u];
          if (r < 0 || c < 0 || r >= height || c >= width || Math.abs(v) + Math.abs(u) > 1) continue;
          pixels[r * width + c] = value;
        }
      show();
    };
    const at = (event) => {
      const box = sheet.getBoundingClientRect();
      return [Math.floor(((event.clientY - box.top) / box.height) * height), Math.floor(((event.clientX - box.left) / box.width) * width)];
    };
    let painting = null;
    sheet.addEventListener("pointerdown", (event) => {
      const [row, column] = at(event);
      painting = event.button === 2 ? 0 : 1;
      sheet.setPointerCapture(event.pointerId);
      brush(row, column, painting);
    });
    sheet.addEventListener("pointermove", (event) => { if (painting !== null) brush(...at(event), painting); });
    sheet.addEventListener("pointerup", () => { painting = null; this.app.chooseDrawn(Float64Array.from(pixels)); });
    sheet.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (move) { cursor[0] = (cursor[0] + move[0] + height) % height; cursor[1] = (cursor[1] + move[1] + width) % width; }
      else if (event.key === " ") { const i = cursor[0] * width + cursor[1]; pixels[i] = 1 - pixels[i]; show(); this.app.chooseDrawn(Float64Array.from(pixels)); }
      else return;
      event.preventDefault();
      say(`row ${cursor[0] + 1}, column ${cursor[1] + 1}: ${pixels[cursor[0] * width + cursor[1]] ? "white" : "black"}`);
    });
    if (this.app.state.drawn) pixels.set(this.app.state.drawn);
    show();
    const clear = make("button", { type: "button", onclick: () => { pixels.fill(0); show(); this.app.chooseDrawn(Float64Array.from(pixels)); } }, "Clear");
    const copy = make("button", { type: "button", onclick: () => { pixels.set(this.app.engine.x.map((value) => (binary ? Math.round(value) : value))); show(); } }, "Start from the chosen image");
    const body = make("div", { hidden: true }, make("p", { class: "hint" }, "Paint with pointer or finger. An image unlike the training images usually gets a low log p(x)."), sheet, make("div", { class: "buttons" }, clear, copy));
    const open = make("button", { type: "button", "aria-expanded": "false", onclick: () => {
      body.hidden = !body.hidden;
      open.setAttribute("aria-expanded", String(!body.hidden));
    } }, "Draw one yourself");
    find("own").append(open, body);
  }
}
