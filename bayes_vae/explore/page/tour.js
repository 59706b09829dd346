// Seven questions that use the page's own state, and ask before they reveal.
import { calm, find, make, nats, say } from "./dom.js";

const QUESTIONS = [
  {
    title: "Which part is the hypothesis?", at: "now",
    text: "You see x: an image. Bayes’ rule asks which hypothesis explains it. Move the pointer over a panel and watch the decoded image.",
    ask: "What is the hypothesis here?",
    choices: ["The image x", "The point z", "The ellipse q"], right: 1,
    answer: () => "z is the hypothesis: “x was made from this z”. Every point of the plane is one hypothesis, and the decoder shows what it would produce. x is the observation (in everyday Bayes: the evidence seen). q is a belief about z, not a hypothesis.",
  },
  {
    title: "What is believed before x is seen?", at: "four",
    text: "The first panel is the prior p(z). Choose another image and look at it again.",
    ask: "Does the prior change with the image?",
    choices: ["Yes", "No"], right: 1,
    answer: () => "The prior is one distribution for all images. Only the likelihood changes with x, and with it the posterior.",
  },
  {
    title: "What does the likelihood say?", at: "four",
    text: "The second panel is p(x|z): x stays, z moves. Bright means that this z makes exactly these pixels probable.",
    ask: "Do the values of the likelihood over all z sum to one?",
    choices: ["Yes, it is a distribution over z", "No"], right: 1,
    answer: ({ atZ }) => `They do not: p(x|z) is a distribution over images x, not over z. At this z its logarithm is ${nats(atZ.logLikelihood)} nats. It becomes a distribution over z only when it is multiplied by the prior and divided by the volume.`,
  },
  {
    title: "What is the evidence?", at: "steps",
    text: "Multiply prior and likelihood at every z, then add up over the plane. Move the temperature slider from 0 to 1 and read the volume.",
    onSlice: "Multiply prior and likelihood at every z, then add up over all z. On a slice the page cannot add up over all z, so log p(x) comes from annealing in Python.",
    ask: "What is the volume at t = 1?",
    choices: ["log p(x), one number for the image", "The ELBO", "The posterior"], right: 0,
    setup: (app) => app.set({ t: 0.03 }, "t"),
    answer: ({ engine }) => `It is p(x), the evidence: how probable this image is under the whole model. Here log p(x) = ${nats(engine.logEvidence)} nats. Dividing by it turns the product into the exact posterior. In everyday Bayes “the evidence” is the observation itself; here it is the number p(x).`,
  },
  {
    title: "Move q: does log p(x) change?", at: "one-bar",
    text: "Drag the ellipse away, or start q at the prior. Watch the bar.",
    ask: "Does log p(x) change when q moves?",
    choices: ["Yes", "No, only the border inside the bar moves"], right: 1,
    setup: (app) => app.set({ split: "integral" }, "split"),
    answer: ({ engine, terms }) => `It does not. log p(x) = ${nats(engine.logEvidence)} belongs to the model and the image. q decides how much of it the ELBO reaches: now ${nats(terms.elbo)}; the rest, ${nats(engine.logEvidence - terms.elbo)} nats, is KL(q ‖ posterior).`,
  },
  {
    title: "Why doesn’t every q get mean 0 and deviation 1?", at: "one-bar",
    text: "Written with the prior, ELBO = E_q log p(x|z) − KL(q ‖ p(z)). Press “Start q at the prior”: this KL is then 0. Then let go.",
    ask: "What pulls q away from the prior?",
    choices: ["The KL", "The likelihood", "The other images"], right: 1,
    setup: (app) => { app.set({ split: "prior" }, "split"); app.startAtPrior(); },
    answer: ({ terms }) => `The likelihood. The KL compares the q of this one image with the prior, and pulls it back; the likelihood pulls towards z that explain x. They balance where the two arrows are equal and opposite. Now E_q log p(x|z) = ${nats(terms.expectedLogLikelihood)} and the KL costs ${nats(terms.klToPrior)} nats. No term compares images with each other.`,
  },
  {
    title: "Why are similar images neighbours?", at: "codes",
    text: "Each grey dot is the code of one test image. The model has never seen a label.",
    ask: "Which term brings similar images together?",
    choices: ["A term that knows the classes", "None: it follows from one smooth decoder and the price of the KL", "The KL between images"], right: 1,
    setup: (app) => app.set({ labels: false }, "labels"),
    answer: (app) => {
      app.set({ labels: true }, "labels");
      return "No term knows about classes. One smooth decoder draws all images, so nearby z give similar images, and the KL makes distance expensive. What keeps unlike images apart is the likelihood: one z cannot draw both. The colours are yours, not the model’s.";
    },
  },
];

export class Tour {
  constructor(app) {
    this.app = app;
    find("start-tour").addEventListener("click", () => this.go(0));
  }

  go(step) {
    if (step < 0 || step >= QUESTIONS.length) return this.close();
    this.app.set({ tour: step }, "tour");
    const question = QUESTIONS[step];
    question.setup?.(this.app);
    this.show(question, step);
    document.body.classList.add("touring");
    const target = find(question.at);
    this.lookAt(target);
    document.querySelectorAll(".looked-at").forEach((each) => each.classList.remove("looked-at"));
    target.classList.add("looked-at");
  }

  show(question, step) {
    const box = find("tour"), answer = make("div", { class: "answer", hidden: true });
    const picks = question.choices.map((text, n) => make("button", { type: "button", "aria-pressed": "false", onclick: () => {
      picks.forEach((each, i) => each.setAttribute("aria-pressed", String(i === n)));
      const words = question.answer(this.app);
      answer.replaceChildren(make("p", {}, make("b", {}, n === question.right ? "Yes. " : "Not quite. "), words));
      answer.hidden = false;
      answer.scrollIntoView({ block: "nearest" });
      say(answer.textContent);
    } }, text));
    const title = make("h2", { id: "tour-title", tabindex: "-1" }, `${step + 1} of ${QUESTIONS.length}: ${question.title}`);
    const look = make("button", { type: "button", onclick: () => this.lookAt(find(question.at)) }, "Show me where");
    const back = step > 0 ? make("button", { type: "button", onclick: () => this.go(step - 1) }, "Back") : null;
    const last = step === QUESTIONS.length - 1;
    const next = make("button", { type: "button", class: "primary", onclick: () => this.go(step + 1) }, last ? "Finish" : "Next question");
    const close = make("button", { type: "button", onclick: () => this.close() }, "Close");
    box.replaceChildren(title, make("p", {}, (this.app.engine.isSlice && question.onSlice) || question.text, " ", look), make("h3", {}, question.ask), make("div", { class: "buttons" }, picks), answer, make("p", { class: "buttons" }, back, next, close));
    box.hidden = false;
    box.scrollTop = 0;
    title.focus({ preventScroll: true });
  }

  // The part that a question is about, above the question.
  lookAt(target) {
    const { top } = target.getBoundingClientRect();
    scrollTo({ top: scrollY + top - 12, behavior: calm() ? "auto" : "smooth" });
  }

  close() {
    find("tour").hidden = true;
    document.body.classList.remove("touring");
    document.querySelectorAll(".looked-at").forEach((each) => each.classList.remove("looked-at"));
    this.app.set({ tour: -1 }, "tour");
    find("start-tour").focus();
  }

  render() {}
}
