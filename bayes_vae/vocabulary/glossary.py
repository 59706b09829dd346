"""The words that a newcomer meets, each explained once: for the report and, with the same text, docs/glossary.md."""

from __future__ import annotations

import re

__all__ = ["GLOSSARY", "anchor", "words_in"]

GLOSSARY = {
    "active unit": "A latent dimension whose mean of q varies from observation to observation (variance above 0.01). "
    "The others carry no information about x.",
    "aggregate posterior": "All q(z|x) mixed together, one for each observation: q(z).",
    "amortization gap": "The part of the inference gap that is due to one encoder serving all observations.",
    "annealing": "An estimate of log p(x): chains move from a known distribution to the posterior in small steps, and "
    "their weights add up to the evidence.",
    "approximation gap": "The part of the inference gap that is due to the family of q.",
    "calibrated": "A guide is calibrated if, for data simulated from the model, its intervals hold the true z as often "
    "as they claim.",
    "chain": "One sequence of moves in annealing. Several chains show how uncertain the estimate is.",
    "code": "z of one observation: in a VAE a distribution, q(z|x). Pictures show its mean.",
    "effective sample size": "How many equal weights would be as good as the K that were drawn.",
    "ELBO": "Evidence lower bound: the expected log likelihood minus the KL of q to the prior. At most log "
    "p(x); larger is better.",
    "evidence": "p(x): the likelihood averaged over the prior, one number for each observation. In everyday Bayes the "
    "word means the observation itself; here it never does.",
    "family": "All the q that a guide can express, such as the normals with independent dimensions.",
    "guide": "q(z|x): what the encoder outputs. It stands in for the posterior.",
    "hypothesis": "z: one possible cause of the observation.",
    "importance weight": "w = p(x, z) / q(z|x) for a z drawn from q. Its mean is p(x).",
    "inference gap": "log p(x) − ELBO, which is the KL from q to the exact posterior.",
    "KL": "Kullback–Leibler divergence: how far one distribution is from another, in nats. It is not a distance, since "
    "KL(q ‖ p) and KL(p ‖ q) differ.",
    "k̂": "How heavy the tail of the importance weights is. Above about 0.7 a few draws decide the whole mean.",
    "L_K": "The log of the mean of K importance weights: a lower bound on log p(x) in expectation, tighter as K grows.",
    "likelihood": "p(x|z): how probable the observation is if z is its cause. The decoder outputs its parameters.",
    "nat": "Unit of a natural logarithm: 0.69 nats are one bit.",
    "observation": "x: one image, one row of a table.",
    "particle": "One draw of z for an observation. K particles give K importance weights.",
    "plate": "Pyro's word for independent repeats: the observations are in one.",
    "policy": "How gray pixels become observations of zeros and ones. Figures of different policies cannot be "
    "compared.",
    "posterior": "p(z|x): how probable each z is after x was seen. It follows from prior, likelihood and evidence.",
    "posterior collapse": "q(z|x) is the prior for every x, so z says nothing about x.",
    "prior": "p(z): how probable each z is before x is seen.",
    "quadrature": "An integral as a sum over a grid. With one or two latent dimensions it gives log p(x) up to "
    "a stated error.",
    "SVI": "Stochastic variational inference: gradient steps on the ELBO, one for each batch.",
    "temperature": "How far annealing has gone from its start (0) to the posterior (1). More temperatures mean smaller "
    "steps.",
    "total correlation": "How far the dimensions of the aggregate posterior depend on each other, in nats.",
}
"""Word → what it means, one or two plain sentences."""

FORMS = {"active unit": "active", "L_K": "L_K"}
"""How a word stands in a sentence, where that is not the word with or without an s."""

UNLINKED = ("code", "evidence", "guide", "hypothesis", "observation", "plate", "posterior", "prior", "likelihood", "KL")
"""Words that stand in nearly every sentence: explained, but not linked from each."""


def anchor(word: str) -> str:
    """What a link to a word leads to.

    >>> anchor("active unit"), anchor("k̂")
    ('word-active-unit', 'word-k̂')
    """
    return "word-" + word.lower().replace(" ", "-")


def words_in(text: str) -> list[tuple[int, int, str]]:
    """Where the words stand in a text: start, end and word, the first of each, longer words before their parts.

    >>> words_in("3 nats of the ELBO, no more nats")
    [(2, 6, 'nat'), (14, 18, 'ELBO')]
    """
    found: list[tuple[int, int, str]] = []
    for word in sorted(set(GLOSSARY) - set(UNLINKED), key=len, reverse=True):
        match = re.search(rf"(?<![\w-]){FORMS.get(word, word + 's?')}(?![\w-])", text)
        if match and not any(start < match.end() and match.start() < end for start, end, _ in found):
            found.append((match.start(), match.end(), word))
    return sorted(found)
