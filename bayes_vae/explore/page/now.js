// The chosen image, the image decoded at z, and the three log densities there.
import { call, find, make, nats } from "./dom.js";
import { paint } from "./pictures.js";

export class Now {
  constructor(app) {
    this.app = app;
    this.x = make("canvas", { class: "picture", role: "img" });
    this.decoded = make("canvas", { class: "picture", role: "img" });
    this.xWords = make("figcaption");
    this.facts = make("dl");
    this.evidence = make("p", { class: "quiet" });
    this.title = make("h2", { id: "now-title" });
    find("now").append(this.title, make("figure", {}, this.x, this.xWords),
      make("figure", {}, this.decoded, make("figcaption", {}, "decoded at z")), make("div", { class: "facts" }, this.facts, this.evidence));
  }

  render(reason) {
    const { app } = this, { engine, state } = app, { images } = engine.run, z = state.z || engine.top, at = app.atZ;
    if (["image", "run", "start", "labels"].includes(reason)) {
      paint(this.x, engine.x, images);
      const known = state.labels && engine.place !== null && images.labels;
      const label = known ? `, label ${labelText(images, images.labels[engine.place])}` : "";
      this.title.textContent = engine.place === null ? "Your own image" : `Test image ${engine.place}${label}`;
      this.x.setAttribute("aria-label", "the observation x");
      this.xWords.textContent = "x, the observation";
    }
    paint(this.decoded, at.image, images);
    this.decoded.setAttribute("aria-label", `the mean of p(x|z) at z = ${nats(z[0])}, ${nats(z[1])}`);
    const rows = [
      [engine.isSlice ? "z on the slice" : "z", `${nats(z[0])}, ${nats(z[1])}`], ["log p(z)", nats(at.logPrior)], ["log p(x|z)", nats(at.logLikelihood)],
      ["log p(x, z)", nats(at.logJoint)], ["log p(x)", nats(engine.logEvidence)],
    ];
    this.facts.replaceChildren(...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
    this.evidence.replaceChildren(...this.source(engine));
  }

  source(engine) {
    if (engine.isSlice) return [`log p(x) by annealing in Python: ${engine.run.figures.reading}. `, call("bv.annealed_log_evidence(model, guide, x)")];
    const python = engine.python("log_evidence"), code = call("bv.bayes_rule_on_grid(model, guide, x).log_evidence");
    if (!engine.fine) return ["log p(x) is being refined …"];
    const fits = `log p(x): sum over ${engine.fine.first.length} × ${engine.fine.first.length} nodes around the posterior. `;
    if (python === null) return [fits];
    const coarse = engine.python("refinement_error") > 1e-3;
    return [`${fits}Python: ${nats(python, 3)}${coarse ? " (its grid is coarse for this posterior)" : ""}. `, code];
  }
}

export function labelText(images, label) {
  return images.label_names[label] ?? String(label);
}
