// One bar for log p(x), which ELBO and KL(q ‖ posterior) share; q's sliders; q let go.
import { calm, call, choice, find, make, nats, say, slider } from "./dom.js";
import { climbing } from "./terms.js";

const SPANS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 1e5, 1e6];

export class Bar {
  constructor(app) {
    this.app = app;
    this.shares = ["elbo", "gap"].map((name) => make("div", { class: name }));
    this.bar = make("div", { class: "bar", role: "img" }, this.shares);
    this.ends = make("div", { class: "ends" });
    this.splits = choice("How the ELBO is written", [["integral", "With the posterior"], ["prior", "With the prior"], ["entropy", "With the entropy"]],
      app.state.split, (value) => app.set({ split: value }, "split"));
    this.chips = make("div", { class: "split" });
    this.result = make("p", { class: "result" });
    this.sliders = this.makeSliders();
    this.go = make("button", { type: "button", class: "primary", onclick: () => this.letGo() }, "Let go of q");
    const back = make("button", { type: "button", onclick: () => app.resetQ() }, "Back to the encoder’s q");
    const prior = make("button", { type: "button", onclick: () => app.startAtPrior() }, "Start q at the prior");
    this.width = 300;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width === this.width) return;
      this.width = contentRect.width;
      this.render("terms");
    }).observe(this.bar);
    find("one-bar").append(
      make("h2", { id: "bar-title" }, "One bar: log p(x) = ELBO + KL(q ‖ posterior)"),
      make("p", { class: "hint" }, "The ELBO, the evidence lower bound, is how well draws of q explain x, less the KL of q to the prior. What it lacks of log p(x) is the KL of q to the posterior. The bar belongs to the image and keeps its length; q only moves the border. Drag q by its dots on the posterior panel, or use the sliders."),
      this.bar, this.ends, this.splits.element, this.chips,
      make("div", { class: "sliders" }, this.sliders.map(({ element }) => element)),
      make("div", { class: "buttons" }, this.go, back, prior), this.key(), this.result,
    );
  }

  key() {
    const items = [["q", "ellipses: q(z|x), 1 and 2 deviations"], ["likelihood", "arrow: the likelihood pulls q towards z that explain x"], ["kl", "arrow: the KL to the prior pulls q towards the prior"]];
    return make("ul", { class: "key" }, items.map(([name, text]) => {
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("viewBox", "0 0 10 10");
      swatch.setAttribute("aria-hidden", "true");
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [key, value] of [["cx", 5], ["cy", 5], ["r", 4], ["fill", `var(--${name})`]]) dot.setAttribute(key, value);
      swatch.append(dot);
      return make("li", {}, swatch, text);
    }));
  }

  makeSliders() {
    const { app } = this, D = app.engine.run.latent_dim, moved = (change) => app.setQ(change(app.state.q), "own");
    const mean = (i) => slider(`mean of z${"₁₂"[i]}`, { low: 0, high: 1, step: "any", value: 0 }, (value) => moved((q) => ({ ...q, loc: Float64Array.from(q.loc, (m, j) => (j === i ? value : m)) })));
    const scale = (i) => slider(`deviation of z${"₁₂"[i]}`, { low: -5, high: 1.2, step: "any", value: 0 }, (value) => moved((q) => withDeviation(q, i, Math.exp(value))));
    if (D > 2) {
      return [slider("all deviations, times", { low: -2.5, high: 1.5, step: "any", value: 0 }, (value) => {
        const tril = app.engine.ownQ.tril.map((entry) => entry * Math.exp(value));
        app.setQ({ loc: app.state.q.loc, tril }, "own");
        this.factor = value;
      })];
    }
    const correlation = slider("correlation", { low: -0.98, high: 0.98, step: "any", value: 0 }, (value) => moved((q) => withCorrelation(q, value)));
    return [mean(0), scale(0), mean(1), scale(1), ...(app.engine.run.full_covariance ? [correlation] : [])];
  }

  syncSliders() {
    const { q } = this.app.state, { plane, isSlice } = this.app.engine;
    const put = ({ input, output }, value, text) => { input.value = value; output.textContent = text; input.setAttribute("aria-valuetext", text); };
    if (isSlice) return put(this.sliders[0], this.app.state.qFrom === "encoder" ? 0 : this.factor || 0, nats(Math.exp(this.app.state.qFrom === "encoder" ? 0 : this.factor || 0)));
    const deviations = [Math.abs(q.tril[0]), Math.hypot(q.tril[2], q.tril[3])];
    [0, 1].forEach((i) => {
      Object.assign(this.sliders[2 * i].input, { min: plane.low[i], max: plane.high[i] });
      put(this.sliders[2 * i], q.loc[i], nats(q.loc[i]));
      put(this.sliders[2 * i + 1], Math.log(deviations[i]), nats(deviations[i], 3));
    });
    if (this.sliders[4]) put(this.sliders[4], q.tril[2] / deviations[1], nats(q.tril[2] / deviations[1]));
  }

  render(reason) {
    const { engine, terms, state } = this.app;
    if (!terms) return;
    if (reason !== "z") this.syncSliders();
    this.splits.mark(state.split);
    const evidence = engine.logEvidence, gap = evidence - terms.elbo;
    const span = SPANS.find((each) => each >= 1.5 * Math.max(gap, 0.6)) || 1e7, left = evidence - span;
    const share = Math.max(0, Math.min(1, (terms.elbo - left) / span));
    this.shares[0].style.flex = `0 0 ${100 * share}%`;
    this.shares[1].style.flex = `0 0 ${100 * (1 - share)}%`;
    const fitting = (part, texts) => texts.find((text) => 8.7 * text.length + 18 < part * this.width) || "";
    this.shares[0].textContent = fitting(share, [`ELBO ${nats(terms.elbo)}`, nats(terms.elbo)]);
    this.shares[1].textContent = fitting(1 - share, [`KL(q ‖ posterior) ${nats(gap)}`, `KL ${nats(gap)}`, nats(gap)]);
    this.bar.setAttribute("aria-label", `log p(x) ${nats(evidence)} nats: ELBO ${nats(terms.elbo)} plus KL from q to the exact posterior ${nats(gap)}`);
    this.ends.replaceChildren(make("span", {}, `starts at ${nats(left, 1)}, ${span === 1 ? "one nat" : `${span} nats`} below log p(x)`), make("span", {}, `log p(x) = ${nats(evidence)}`));
    this.chips.replaceChildren(...this.written(state.split, terms, evidence, gap));
    this.result.replaceChildren(...this.verdict(terms, evidence));
  }

  written(split, terms, evidence, gap) {
    const chip = (name, text, value, code, needs) => make("span", { class: `chip ${name}` }, make("b", {}, nats(value)), " ", code ? call(code) : null, make("small", { class: needs ? "needs" : "" }, text));
    const signed = (sign, piece) => make("span", { class: "signed" }, make("i", {}, sign), piece), draws = "num_particles=1000";
    const elbo = chip("elbo", "ELBO", terms.elbo, `bv.elbo_terms(model, guide, x, ${draws}).elbo`);
    const rule = this.app.engine.isSlice ? "bv.annealed_log_evidence(model, guide, x).log_evidence" : "bv.bayes_rule_on_grid(model, guide, x).log_evidence";
    if (split === "integral") return [elbo, signed("=", chip("evidence", "log p(x)", evidence, rule, true)), signed("−", chip("gap", "KL(q ‖ p(z|x))", gap, "bv.bayes_rule_on_grid(model, guide, x).inference_gap", true))];
    if (split === "prior") return [elbo, signed("=", chip("likelihood", "E_q log p(x|z)", terms.expectedLogLikelihood, `bv.elbo_terms(model, guide, x, ${draws}).expected_log_likelihood`)), signed("−", chip("kl", "KL(q ‖ p(z))", terms.klToPrior, `bv.elbo_terms(model, guide, x, ${draws}).kl_to_prior`))];
    return [elbo, signed("=", chip("joint", "E_q log p(x, z)", terms.expectedLogJoint, `bv.log_terms(model, guide, x, ${draws}).log_joint.mean(0)`)), signed("+", chip("q", "entropy of q", terms.entropy, "guide.variational_posterior(x).entropy()"))];
  }

  verdict(terms, evidence) {
    const { best, state } = this.app;
    const bent = this.app.engine.run.contours && this.app.engine.python("guide_elbo");
    if (state.qFrom === "encoder" && bent) return [`Dashed: the guide’s own q, which is not a normal; its ELBO is ${nats(bent)} (Python, sampled). The ellipse is the normal with its mean and covariance.`];
    if (!best || state.qFrom !== "best") return [];
    const encoder = this.app.engine.elbo(this.app.engine.ownQ, 16).elbo;
    const { isSlice } = this.app.engine, sampled = isSlice ? "These ELBOs are means over 128 draws, and log p(x) is the annealed figure. " : "";
    if (isSlice && best.elbo <= encoder)
      return [`The climb, which uses draws, found no better q than the encoder’s: its ELBO is ${nats(best.elbo)}, the encoder’s ${nats(encoder)}. ${sampled}`, call("bv.inference_gap(model, guide, x)", true)];
    return [
      `Best q of this family: ELBO ${nats(best.elbo)}. The encoder’s q (dashed) has ${nats(encoder)}: it loses `, make("b", {}, `${nats(Math.max(0, best.elbo - encoder))} nats`),
      " because one encoder serves all images (amortization gap). The remaining ", make("b", {}, `${nats(Math.max(0, evidence - best.elbo))} nats`),
      " are out of reach for this family (approximation gap). ", sampled, call("bv.inference_gap(model, guide, x)", true),
    ];
  }

  letGo() {
    if (this.app.engine.isSlice) return this.letGoOnSlice();
    const { app } = this, { engine } = app, steps = climbing(engine.run, engine.x, app.state.q, engine.run.full_covariance, 12);
    cancelAnimationFrame(this.frame);
    const advance = () => {
      const end = performance.now() + 30;
      let next = steps.next();
      while (calm() && !next.done && performance.now() < end) { this.last = next.value; next = steps.next(); }
      if (next.done) return this.arrive();
      this.last = next.value;
      if (!calm()) app.setQ(next.value.q, "own", false);
      this.frame = requestAnimationFrame(advance);
    };
    app.onStop(() => cancelAnimationFrame(this.frame));
    this.last = null;
    advance();
  }

  // The worker takes the steps: in many dimensions each is too long for the page.
  letGoOnSlice() {
    const { app } = this, { engine } = app;
    let going = true;
    app.stop();
    app.onStop(() => { going = false; });
    this.last = { q: app.state.q };
    const advance = (left) => engine.stepLater(this.last, (next) => {
      if (!going) return;
      if (!next || !left) return this.arrive();
      this.last = next;
      app.setQ(next.q, "own", false, next.terms.forces);
      advance(left - 1);
    });
    advance(200);
  }

  arrive() {
    const { app } = this;
    app.best = app.engine.elbo(this.last.q, 16);
    app.placeQ(this.last.q, "best");
    say(`q stopped at the best of its family: ELBO ${nats(app.best.elbo)} nats, log p(x) ${nats(app.engine.logEvidence)} nats`);
  }
}

export function withDeviation(q, i, deviation) {
  const tril = Float64Array.from(q.tril);
  if (i === 0) tril[0] = deviation;
  else {
    const now = Math.hypot(q.tril[2], q.tril[3]);
    tril[2] *= deviation / now;
    tril[3] *= deviation / now;
  }
  return { loc: q.loc, tril };
}

export function withCorrelation(q, correlation) {
  const deviation = Math.hypot(q.tril[2], q.tril[3]);
  return { loc: q.loc, tril: Float64Array.of(q.tril[0], 0, correlation * deviation, Math.sqrt(1 - correlation ** 2) * deviation) };
}
