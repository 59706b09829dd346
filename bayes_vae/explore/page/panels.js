// The four linked panels over the plane of z, with q on top: the probe, the handles, the two forces.
import { call, choice, draw, find, make, nats, select, subscript } from "./dom.js";
import { place, shade, unplace } from "./pictures.js";

const TERMS = [
  { key: "prior", name: "Prior", symbol: "p(z)", means: "What is believed of z before x is seen: the same for every image.", values: (grid) => grid.logPrior },
  { key: "likelihood", name: "Likelihood", symbol: "p(x|z)", sign: "×", means: "How probable x is if z is its cause: how well each z explains this image.", values: (grid) => grid.logLikelihood },
  { key: "joint", name: "Product", symbol: "p(x, z)", sign: "=", means: "Both at once. Its volume is p(x), the evidence.", values: (grid) => grid.logJoint },
  { key: "posterior", name: "Posterior", symbol: "p(z|x)", sign: "÷ p(x) =", means: "What is believed of z after x is seen: the product, made to have volume 1.", values: (grid) => grid.logJoint.map((v) => v - grid.logEvidence) },
];

const CALLS = {
  prior: "rule.log_prior  # rule = bv.bayes_rule_on_grid(model, guide, x)",
  likelihood: "bv.bayes_rule_on_grid(model, guide, x).log_likelihood",
  joint: "bv.bayes_rule_on_grid(model, guide, x).log_evidence",
  posterior: "bv.bayes_rule_on_grid(model, guide, x).log_posterior",
};

export const SIDE = 200;

export class Panels {
  constructor(app) {
    this.app = app;
    this.panels = TERMS.map((term) => this.panel(term));
    find("four").append(...this.panels.map(({ element }) => element));
    this.viewing = choice("What the panels show", [["plane", "Whole plane"], ["posterior", "Around the posterior"]], app.shown,
      (value) => app.set({ view: value }, "view"));
    this.shading = choice("Shading", [["density", "Density"], ["log", "Logarithm"]], app.state.shade,
      (value) => app.set({ shade: value }, "view"));
    const shown = app.engine.isSlice ? this.slicing() : [this.viewing.element];
    find("viewing").append(...shown, this.shading.element);
  }

  // Along which two directions the slice lies: a choice, and two lists of the numbers of z.
  slicing() {
    const { app } = this, names = Array.from({ length: app.engine.run.latent_dim }, (_, i) => `z${subscript(i)}`);
    this.way = choice("The slice lies along", [["principal", "Principal directions"], ["two", "Two numbers of z"]], "principal",
      (value) => app.cutSlice(value === "two" ? app.state.along || [0, 1] : null));
    const pick = (k, i) => app.cutSlice(app.state.along.map((old, at) => (at === k ? i : old === i ? app.state.along[k] : old)));
    this.axes = ["across", "up"].map((name, k) => select(`number of z ${name}`, names, k, (i) => pick(k, i)));
    return [this.way.element, ...this.axes];
  }

  markSlicing({ along }) {
    if (!this.way) return;
    this.way.mark(along ? "two" : "principal");
    this.axes.forEach((list, k) => { list.hidden = !along; if (along) list.value = along[k]; });
  }

  panel(term) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    const svg = draw("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" });
    const number = make("p", { class: "number" });
    const plane = make("div", {
      class: "plane", tabindex: "0", role: "application",
      "aria-label": `${term.name} ${term.symbol} over the plane of z. Arrow keys move z.`,
    }, canvas, svg);
    const sign = term.sign ? make("span", {}, `${term.sign} `) : null;
    const element = make("article", { class: `panel ${term.key}` },
      make("h3", {}, sign, term.name, " ", make("span", {}, term.symbol)), make("p", { class: "means" }, term.means), plane, number, call(CALLS[term.key]));
    const found = { term, canvas, svg, number, plane, element };
    this.listen(found);
    return found;
  }

  listen({ plane, svg, term }) {
    const at = (event) => {
      const box = plane.getBoundingClientRect();
      return unplace(this.viewOf(term), box.width, event.clientX - box.left, event.clientY - box.top);
    };
    let dragged = null;
    plane.addEventListener("pointerdown", (event) => {
      dragged = event.target.dataset?.part || null;
      if (dragged) { plane.setPointerCapture(event.pointerId); event.preventDefault(); }
      else this.app.set({ z: at(event) }, "z");
    });
    plane.addEventListener("pointermove", (event) => {
      if (dragged) this.app.dragQ(dragged, at(event));
      else if (event.pointerType === "mouse") this.app.set({ z: at(event) }, "z");
    });
    for (const end of ["pointerup", "pointercancel"]) plane.addEventListener(end, () => { dragged = null; });
    plane.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!move) return;
      event.preventDefault();
      const z = this.app.state.z || this.app.engine.top, { low, high } = this.viewOf(term);
      this.app.set({ z: [0, 1].map((i) => z[i] + (move[i] * (high[i] - low[i])) / (event.shiftKey ? 10 : 50)) }, "z");
    });
    svg.dataset.term = term.key;
  }

  get view() {
    return this.app.shown === "posterior" ? this.app.engine.closeView : this.app.engine.wideView;
  }

  // The prior is shown whole: from near it is nearly flat.
  viewOf(term) {
    return term.key === "prior" ? this.app.engine.wideView : this.view;
  }

  render(reason) {
    const { engine, state } = this.app;
    this.viewing.mark(this.app.shown);
    this.markSlicing(state);
    const near = this.app.shown === "posterior" ? "The frame on the prior is what the other panels show. " : "";
    find("panels-hint").textContent = `${near}${this.app.engine.isSlice ? "" : "The dots on the prior are the codes of the test images. "}Move over a panel, or focus it and use the arrow keys: the image decoded at that z appears above.`;
    this.shading.mark(state.shade);
    if (["grid", "fine", "view", "colours"].includes(reason)) {
      const grids = engine.fine ? [engine.grid, engine.fine] : [engine.grid];
      for (const { term, canvas } of this.panels) {
        const some = term.key === "prior" ? [engine.grid] : grids;
        const patches = some.map((grid) => ({ first: grid.first, second: grid.second, values: term.values(grid) }));
        shade(canvas, patches, this.viewOf(term), term.key, state.shade === "log");
      }
    }
    for (const { term, number } of this.panels) number.replaceChildren(...this.words(term.key));
    for (const panel of this.panels) this.overlay(panel);
  }

  words(key) {
    const { engine, app } = { engine: this.app.engine, app: this.app }, z = app.state.z || engine.top, at = app.atZ;
    const where = app.state.z ? "at your z" : "where the posterior is highest";
    const tell = (symbol, value) => [make("b", {}, `${nats(value)} nats`), ` ${symbol} ${where} (${nats(z[0], 1)}, ${nats(z[1], 1)})`];
    if (key === "prior") return tell("= log p(z)", at.logPrior);
    if (key === "likelihood") return tell("= log p(x|z)", at.logLikelihood);
    if (engine.isSlice) return key === "joint" ? tell("= log p(x, z)", at.logJoint) : ["on this slice only, up to a constant"];
    if (key === "joint") return [make("b", {}, `${nats(engine.logEvidence)} nats`), " = log p(x), the logarithm of the evidence: of the volume of the whole panel"];
    return tell("= log p(z|x)", at.logJoint - engine.logEvidence);
  }

  overlay({ term, svg }) {
    const { app } = this, view = this.viewOf(term), shapes = [], [low, high] = [view.low, view.high];
    const label = (x, y, text, anchor) => draw("text", { x, y, "text-anchor": anchor }, text);
    shapes.push(label(4, SIDE - 4, nats(low[0], 1), "start"), label(SIDE - 4, SIDE - 4, `${nats(high[0], 1)}`, "end"), label(4, 12, nats(high[1], 1), "start"));
    if (term.key === "prior" && !app.engine.isSlice) shapes.push(app.codes.group(view, SIDE));
    if (term.key === "prior" && app.shown === "posterior") shapes.push(frame(view, this.view));
    if (app.state.z) {
      const [a, b] = place(view, SIDE, ...app.state.z);
      shapes.push(draw("path", { class: "probe", d: `M${a - 7} ${b}H${a + 7}M${a} ${b - 7}V${b + 7}` }));
    }
    const q = app.engine.planar(app.state.q), own = app.engine.planar(app.engine.ownQ);
    const bent = app.engine.place !== null && app.engine.run.contours?.[app.engine.place];
    if (bent) shapes.push(...bent.flat().map((line) => path(line.map((z) => place(view, SIDE, ...z)), "ellipse encoder")));
    else if (app.state.qFrom !== "encoder") shapes.push(ellipse(own, view, 1, "ellipse encoder"));
    shapes.push(ellipse(q, view, 2, "ellipse outer"), ellipse(q, view, 1, "ellipse"));
    if (term.key === "posterior") shapes.push(...this.forces(q), ...this.handles(q));
    svg.replaceChildren(...shapes);
  }

  forces(q) {
    const { terms, engine } = this.app;
    if (!terms?.forces) return [];
    const [a, b] = place(this.view, SIDE, ...q.loc), names = [["likelihood", "likelihood"], ["prior", "kl"]], { tril } = this.app.state.q;
    const pushes = names.map(([name]) => {
      const { mean } = terms.forces[name], D = mean.length;
      const step = engine.alongSlice(mean.map((_, i) => mean.reduce((sum, value, j) => sum + tril[i * D + j] * value, 0)));
      return place(this.view, SIDE, q.loc[0] + step[0], q.loc[1] + step[1]).map((v, i) => v - [a, b][i]);
    });
    const longest = Math.max(...pushes.map(([u, v]) => Math.hypot(u, v)), 1e-9), scale = Math.min(70, 12 + 10 * Math.log1p(longest)) / longest;
    return this.arrows(pushes, names, [a, b], Math.max(0.4 * scale, Math.min(scale, ...pushes.map((push) => room([a, b], push)))));
  }

  arrows(pushes, names, [a, b], scale) {
    return pushes.map(([u, v], i) => {
      const [c, d] = [a + u * scale, b + v * scale], long = Math.hypot(u, v) * scale;
      if (long < 2) return draw("path", {});
      const [ux, uy] = [(u * scale) / long, (v * scale) / long], head = Math.min(6, long / 2);
      return draw("path", { class: `force ${names[i][1]}`, d: `M${a} ${b}L${c} ${d}M${c - head * (ux + 0.6 * uy)} ${d - head * (uy - 0.6 * ux)}L${c} ${d}L${c - head * (ux - 0.6 * uy)} ${d - head * (uy + 0.6 * ux)}` });
    });
  }

  handles(q) {
    const spread = Math.hypot(q.tril[2], q.tril[3]);
    const places = [["mean", q.loc], ["first", [q.loc[0] + q.tril[0], q.loc[1] + q.tril[2]]], ["second", [q.loc[0], q.loc[1] + (q.tril[2] ? q.tril[3] : spread)]]];
    const shown = this.app.engine.isSlice ? places.slice(0, 1) : places;
    return shown.flatMap(([part, z]) => {
      const [cx, cy] = place(this.view, SIDE, ...z), r = part === "mean" ? 5.5 : 4;
      return [draw("circle", { class: "handle", cx, cy, r, "data-part": part }), draw("circle", { class: "touch", cx, cy, r: part === "mean" ? 13 : 9, "data-part": part })];
    });
  }
}

// How often a push fits between a point and the border of the panel.
function room(from, push) {
  return Math.min(...push.map((step, i) => (step > 0 ? SIDE - 5 - from[i] : from[i] - 5) / Math.max(Math.abs(step), 1e-9)));
}

function frame(view, { low, high }) {
  const [[x, y], [right, below]] = [place(view, SIDE, low[0], high[1]), place(view, SIDE, high[0], low[1])];
  return draw("rect", { class: "frame", x, y, width: right - x, height: below - y });
}

export function ellipse(q, view, deviations, name) {
  const points = Array.from({ length: 49 }, (_, i) => {
    const [c, s] = [Math.cos((i * Math.PI) / 24) * deviations, Math.sin((i * Math.PI) / 24) * deviations];
    return place(view, SIDE, q.loc[0] + q.tril[0] * c, q.loc[1] + q.tril[2] * c + q.tril[3] * s);
  });
  return path(points, name);
}

function path(points, name) {
  return draw("path", { class: name, d: `M${points.map((p) => p.map((v) => v.toFixed(2)).join(" ")).join("L")}Z` });
}
