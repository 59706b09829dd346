// Several runs: a slider over the setting that differs, and their figures side by side.
import { draw, find, make, nats } from "./dom.js";
import { place } from "./pictures.js";
import { LABEL_COLOURS } from "./tools.js";

const SIZE = 100;

export class Runs {
  constructor(app, content) {
    [this.app, this.content] = [app, content];
    const { runs, varied } = content, box = find("runs");
    if (runs.length < 2) return;
    box.hidden = false;
    this.setting = varied.find(({ name }) => name.endsWith("kl_weight")) || varied.find(({ name }) => !/seed|out|command/.test(name)) || varied[0];
    this.input = make("input", { type: "range", min: 0, max: runs.length - 1, step: 1, value: app.state.run, "aria-label": "which run", oninput: () => app.chooseRun(Number(this.input.value)) });
    this.output = make("output");
    this.table = make("table");
    this.codes = make("div", { class: "clouds" });
    const name = this.setting ? this.setting.name.split(".").pop().replaceAll("_", " ") : "run";
    box.append(make("h2", { id: "runs-title" }, `${runs.length} runs on the same images: ${name}`),
      make("label", { class: "slide" }, make("span", {}, "run"), this.input, this.output), make("div", { class: "beside" }, make("div", { class: "scroll" }, this.table), this.codes),
      make("p", { class: "hint" }, "ELBO and log p(x) are at KL weight 1 for every run: means over the images on this page."));
    this.name = name;
  }

  render(reason) {
    if (!this.input || !["start", "run", "labels"].includes(reason)) return;
    this.codes.replaceChildren(...this.clouds());
    const { runs } = this.content, mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    const value = (n) => (this.setting ? this.setting.values[n] : runs[n].name);
    this.input.value = this.app.state.run;
    const text = `${runs[this.app.state.run].name}: ${this.name} ${value(this.app.state.run)}`;
    this.output.textContent = text;
    this.input.setAttribute("aria-valuetext", text);
    const head = make("tr", {}, ["run", this.name, "ELBO", "log p(x)", "gap"].map((words) => make("th", { scope: "col" }, words)));
    this.table.replaceChildren(make("thead", {}, head), make("tbody", {}, runs.map(({ name, figures }, n) => {
      const elbo = mean(figures.expected_log_likelihood) - mean(figures.kl_to_prior), evidence = mean(figures.log_evidence);
      return make("tr", { "aria-current": String(n === this.app.state.run) }, [name, value(n), nats(elbo), nats(evidence), nats(evidence - elbo)].map((words) => make("td", {}, words)));
    })));
  }

  // The codes of every run side by side, each on the plane of the first; none where z has more than two numbers.
  clouds() {
    const { runs } = this.content, { state, engine } = this.app, { plane } = runs[0];
    if (engine.isSlice) return [];
    const view = { low: [0, 1].map((i) => 0.8 * plane.low[i] + 0.2 * plane.high[i]), high: [0, 1].map((i) => 0.2 * plane.low[i] + 0.8 * plane.high[i]) };
    return runs.map(({ name, codes }, n) => {
      const dots = Array.from({ length: codes.loc.length / 2 }, (_, at) => {
        const [cx, cy] = place(view, SIZE, codes.loc[2 * at], codes.loc[2 * at + 1]);
        return draw("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 1, fill: state.labels && codes.labels ? LABEL_COLOURS[((codes.labels[at] % 10) + 10) % 10] : "var(--dot)" });
      });
      const picture = draw("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, "aria-hidden": "true" }, dots);
      return make("button", { type: "button", class: "cloud", "aria-pressed": String(n === state.run), "aria-label": `codes of ${name}: show this run`, onclick: () => this.app.chooseRun(n) }, picture, make("span", {}, name));
    });
  }
}
