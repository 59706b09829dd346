// What takes long, apart from the page: run in a worker where there can be one, else between two pictures.
import { logPriors } from "./densities.js";
import { normalizersOf } from "./likelihood.js";
import { runNetwork } from "./network.js";
import { boxOfPosterior, drawsRule, elboTerms, evenly, nodesOf, stepUp, termsOnGrid } from "./terms.js";

const EDGE = 14;

export const JOBS = {
  // What is the same for every image at the nodes of the plane: log p(z), the decoder's outputs and their normalizers.
  outputs: (model, { first, second }) => {
    const z = nodesOf(first, second), count = first.length * second.length, found = runNetwork(model.decoder, z, count);
    const normalizers = normalizersOf(model.likelihood, found, count);
    return { first, second, logPrior: logPriors(model.prior, z, count), outputs: Float32Array.from(found), normalizers };
  },
  // The terms on a grid around the posterior; a box that cuts it off is widened.
  refine: (model, { x, box, count }) => {
    let grid = null;
    for (let round = 0; round < 4; round++) {
      grid = termsOnGrid(model, x, evenly(box.low[0], box.high[0], count), evenly(box.low[1], box.high[1], count));
      const wider = widened(grid, box);
      if (!wider) break;
      box = wider;
    }
    const tight = boxOfPosterior(grid, 30);
    const area = (b) => (b.high[0] - b.low[0]) * (b.high[1] - b.low[1]);
    if (area(tight) < 0.35 * area(box))
      grid = termsOnGrid(model, x, evenly(tight.low[0], tight.high[0], count), evenly(tight.low[1], tight.high[1], count));
    return grid;
  },
  slice: (model, { terms }) => termsOnGrid(model, ...terms),
  elbo: (model, { x, q, points, draws }) => elboTerms(model, x, q, points, draws ? drawsRule(...draws) : null),
  // One step of q uphill where z has more than two numbers; null at the top.
  step: (model, { x, here, correlated, draws }) => {
    const rule = drawsRule(...draws), terms = here.terms || elboTerms(model, x, here.q, 0, rule);
    return stepUp(model, x, { pace: 0.5, ...here, terms }, correlated, 0, rule, 1e-4);
  },
};

// The box, wider where the posterior reaches its edge.
function widened({ first, second, logJoint }, { low, high }) {
  const G = first.length, H = second.length, most = logJoint.reduce((a, b) => Math.max(a, b), -Infinity);
  const reaches = [0, 0, 0, 0];
  for (let j = 0; j < H; j++) {
    if (logJoint[j] > most - EDGE) reaches[0] = 1;
    if (logJoint[(G - 1) * H + j] > most - EDGE) reaches[1] = 1;
  }
  for (let i = 0; i < G; i++) {
    if (logJoint[i * H] > most - EDGE) reaches[2] = 1;
    if (logJoint[i * H + H - 1] > most - EDGE) reaches[3] = 1;
  }
  if (!reaches.includes(1)) return null;
  const [w, t] = [high[0] - low[0], high[1] - low[1]];
  return {
    low: [low[0] - 0.6 * w * reaches[0], low[1] - 0.6 * t * reaches[2]],
    high: [high[0] + 0.6 * w * reaches[1], high[1] + 0.6 * t * reaches[3]],
  };
}

// Jobs one after another; of each kind only the newest waits.
export class Queue {
  constructor(source) {
    this.waiting = new Map();
    this.busy = false;
    this.model = null;
    try {
      this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      this.worker.onmessage = ({ data }) => this.finish(data);
      this.worker.onerror = () => this.withoutWorker();
    } catch {
      this.worker = null;
    }
  }

  withoutWorker() {
    this.worker = null;
    if (this.current) setTimeout(() => this.start(this.current));
  }

  use(model) {
    this.model = model;
    this.waiting.clear();
    this.current = null;
    this.busy = false;
    this.generation = (this.generation || 0) + 1;
    if (this.worker) this.worker.postMessage({ model });
  }

  ask(kind, details, take) {
    this.waiting.set(kind, { kind, details, take, generation: this.generation });
    this.next();
  }

  next() {
    if (this.busy || !this.waiting.size) return;
    const [kind, job] = this.waiting.entries().next().value;
    this.waiting.delete(kind);
    this.busy = true;
    this.current = job;
    this.start(job);
  }

  start(job) {
    const { kind, details, generation } = job;
    if (this.worker) this.worker.postMessage({ kind, details, generation });
    else setTimeout(() => this.finish({ result: JOBS[kind](this.model, details), generation }), 30);
  }

  finish({ result, generation }) {
    if (generation !== this.generation || !this.current) return;
    const { take } = this.current;
    this.current = null;
    this.busy = false;
    take(result);
    this.next();
  }
}

// The worker's side of it.
export function serve() {
  let model = null;
  self.onmessage = ({ data }) => {
    if (data.model) model = data.model;
    else {
      const result = JOBS[data.kind](model, data.details);
      self.postMessage({ result, generation: data.generation }, result?.outputs ? [result.outputs.buffer] : []);
    }
  };
}
