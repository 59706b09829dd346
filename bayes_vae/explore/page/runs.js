// Several runs: a slider over the setting that differs, and their figures side by side.
import { find, make, nats } from "./dom.js";

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
    const name = this.setting ? this.setting.name.split(".").pop().replaceAll("_", " ") : "run";
    box.append(make("h2", { id: "runs-title" }, `${runs.length} runs on the same images: ${name}`),
      make("label", { class: "slide" }, make("span", {}, "run"), this.input, this.output), make("div", { class: "scroll" }, this.table),
      make("p", { class: "hint" }, "ELBO and log p(x) are at KL weight 1 for every run: means over the images on this page."));
    this.name = name;
  }

  render(reason) {
    if (!this.input || !["start", "run"].includes(reason)) return;
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
}
