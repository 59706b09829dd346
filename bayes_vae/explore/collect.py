"""What the page shows of one run: its networks, densities, images, codes, and the figures of Python beside its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from bayes_vae.data import Data
from bayes_vae.data.split import Split
from bayes_vae.distributions import missing_in
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators import annealed_log_evidence, elbo_terms, estimate_log_evidence
from bayes_vae.explore.contours import contours_of
from bayes_vae.explore.densities import (
    Normals,
    decoder_steps,
    encoder_of,
    likelihood_of,
    moments_of,
    normals_of,
    prior_of,
)
from bayes_vae.explore.terms import expected_terms, first_grid, plane_of, plane_terms
from bayes_vae.settings import ExploreSettings
from bayes_vae.terms.program import index_arguments, undisturbed
from bayes_vae.terms.rows import prepare_for

__all__ = ["RunView", "collect"]

FLOW_NOTE = (
    "q(z|x) of this guide is not a normal. The ellipse that you move is the normal with the mean and covariance of its "
    "draws, and the figures of q are those of that normal; k̂ is that of the guide itself."
)
NO_ENCODER_NOTE = (
    "The page cannot run this guide's encoder, so on an image that you draw, q starts at the mean and covariance of "
    "the exact posterior."
)
TOO_LARGE_NOTE = (
    "The encoder is left out, because the page would be larger than 5 MB with it. On an image that you draw, q starts "
    "at the mean and covariance of the exact posterior."
)
SLICE_NOTE = (
    "z has {size} numbers. The panels show a slice: the plane through the mean of q(z|x) along two directions, the "
    "principal ones of the codes or two numbers of z. An integral over the slice is not p(x), so log p(x) is the "
    "annealed figure from Python. The ELBO is a mean over draws from q."
)
ONE_DIMENSION = (
    "the page shows planes, and z of this run has one number. bayes-vae explain draws the terms over a single latent."
)

MISSING = (
    "the page computes the likelihood of whole observations, and some of these have missing values. bayes-vae evaluate "
    "and explain take them as they are."
)


@dataclass(frozen=True, eq=False)
class RunView:
    """What the page is given of one run.

    Attributes:
        name: of the run.
        content: in JSON types and tensors.
        notes: what the page does not show of this run, and why.
        settings: section.name → value of every setting of the run.
        digest: of the data.
    """

    name: str
    content: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def without_encoder(self) -> RunView:
        """The same with less to hold: images drawn in the page then have no q of the encoder."""
        content = {**self.content, "encoder": None, "notes": [*self.notes, TOO_LARGE_NOTE]}
        return replace(self, content=content, notes=content["notes"])


def collect(
    model: Any,
    guide: Any,
    data: Data,
    settings: ExploreSettings | None = None,
    *,
    name: str = "pair",
    config: Mapping[str, Any] | None = None,
) -> RunView:
    """Compute what the page shows of a pair, on its device in float64.

    Args:
        model, guide: a pair of two or more latent dimensions.
        data: the data set; its first test rows are what is shown.
        settings: how many images, draws and nodes; the defaults when None.
        name: of the run.
        config: its configuration, as ``RunDirectory.config`` has it.

    Raises:
        NotDefinedError: a model, likelihood, prior or network that the page cannot compute, by name.
    """
    settings = settings or ExploreSettings()
    model, guide = (part.double() for part in copy.deepcopy((model, guide)))
    _require_shown(model, guide)
    rows, codes = (data.test[:count].seeded(settings.seed) for count in (settings.num_images, settings.num_codes))
    prepare_for(model, guide, codes if len(codes) > len(rows) else rows)
    notes: list[str] = []
    with undisturbed(model, guide, seed=settings.seed):
        device = next(model.parameters()).device
        x = rows.observations(device=device).double()
        if missing_in(x) is not None:
            raise NotDefinedError(MISSING)
        guides_q = _q(guide, x, rows.index)
        exact = normals_of(guides_q)
        q = moments_of(guides_q) if exact is None else exact
        if exact is None:
            notes.append(FLOW_NOTE)
        content: dict[str, Any] = {
            "name": name,
            "latent_dim": model.latent_dim,
            "decoder": decoder_steps(model),
            "likelihood": likelihood_of(model),
            "prior": prior_of(model),
            "q": q._asdict(),
            "full_covariance": bool(q.scale_tril.tril(-1).abs().amax() > 0),
            "codes": _codes(guide, codes, device),
        }
        found = encoder_of(guide, model.data_shape)
        content["encoder"] = found
        if found is None:
            notes.append(NO_ENCODER_NOTE)
        if model.latent_dim == 2:
            content |= _on_plane(model, x, q, settings)
            if exact is None:
                content["contours"] = contours_of(guides_q, q)
    if "contours" in content:
        content["figures"]["guide_elbo"] = elbo_terms(
            model, guide, rows, num_particles=settings.num_particles, seed=settings.seed
        ).elbo
    if model.latent_dim > 2:
        content |= _slice(model, guide, rows, settings, q.loc)
        notes.append(SLICE_NOTE.format(size=model.latent_dim))
    content["figures"] |= _reliability(model, guide, rows, settings)
    content["images"] = {**_images(data, rows, x), "seed": settings.seed}
    content["notes"] = notes
    return RunView(name, content, notes, _flat((config or {}).get("settings", {})), data.digest)


def _require_shown(model: Any, guide: Any) -> None:
    likelihood_of(model)
    if getattr(model, "latent_dim", 0) == 1:
        raise NotDefinedError(ONE_DIMENSION)
    if not hasattr(guide, "variational_posterior"):
        raise NotDefinedError(
            f"the page draws q(z given x), and {type(guide).__name__} does not expose it as variational_posterior(x)."
        )


def _q(guide: Any, x: Tensor, index: Tensor) -> Any:
    """q of every observation."""
    return guide.variational_posterior(x, **index_arguments(guide, index))


def _codes(guide: Any, codes: Split, device: torch.device) -> dict[str, Any]:
    """Means of q of more observations, and their labels, which the page hides until it is asked."""
    found = _q(guide, codes.observations(device=device).double(), codes.index)
    loc = (normals_of(found) or moments_of(found)).loc
    return {"loc": loc.float(), "labels": None if codes.labels is None else codes.labels.long().tolist()}


def _on_plane(model: Any, x: Tensor, q: Normals, settings: ExploreSettings) -> dict[str, Any]:
    """The plane of a latent of two numbers, and the terms as sums over its nodes."""
    plane = plane_of(model.prior(), q)
    evidence, (expected, kl) = plane_terms(model, x, plane, settings.num_points), expected_terms(model, x, q)
    figures = {**evidence._asdict(), "expected_log_likelihood": expected, "kl_to_prior": kl}
    grid = {**plane._asdict(), "num_points": settings.num_points}
    return {"plane": grid, "first_grid": first_grid(model, x, plane), "figures": figures}


def _reliability(model: Any, guide: Any, rows: Split, settings: ExploreSettings) -> dict[str, Any]:
    """k̂ of every observation."""
    estimate = estimate_log_evidence(model, guide, rows, settings.num_particles, seed=settings.seed)
    threshold, count = estimate.pareto_k_threshold, estimate.num_particles
    return {"pareto_k": estimate.pareto_k, "pareto_k_threshold": threshold, "num_particles": count}


def _slice(model: Any, guide: Any, rows: Split, settings: ExploreSettings, loc: Tensor) -> dict[str, Any]:
    """The plane through the posterior mean, and the figures that are no integral over it."""
    apart = loc - loc.mean(0)
    _, _, directions = torch.linalg.svd(apart, full_matrices=False)
    elbo = elbo_terms(model, guide, rows, num_particles=settings.num_particles, seed=settings.seed)
    annealed = annealed_log_evidence(model, guide, rows, num_temperatures=settings.num_temperatures, seed=settings.seed)
    reach = 3.5 * float(apart.std())
    return {
        "directions": directions[:2],
        "plane": {"low": [-reach, -reach], "high": [reach, reach], "num_points": settings.num_points},
        "figures": {
            "log_evidence": annealed.log_evidence,
            "reading": str(annealed.reading),
            "expected_log_likelihood": elbo.expected_log_likelihood,
            "kl_to_prior": elbo.kl_to_prior,
        },
    }


def _images(data: Data, rows: Split, x: Tensor) -> dict[str, Any]:
    """The observations, how to draw them, and their labels, which the page hides until it is asked."""
    flat = x.flatten(1)
    whole = bool((flat == flat.round()).all()) and float(flat.min()) >= 0 and float(flat.max()) <= 255
    low, high = (0.0, 1.0) if data.observation_kind in ("binary", "gray") else (float(flat.min()), float(flat.max()))
    return {
        "x": flat.to(torch.uint8) if whole else flat.float(),
        "index": rows.index.tolist(),
        "labels": None if rows.labels is None else rows.labels.long().tolist(),
        "label_names": [str(label) for label in data.label_names or ()],
        "picture": _picture(tuple(x.shape[1:])),
        "low": low,
        "high": high,
        "binary": data.observation_kind == "binary",
        "data": data.name,
        "policy": data.policy,
    }


def _picture(event: tuple[int, ...]) -> dict[str, Any] | None:
    """How numbers lie in a picture: (height, width), channels first or last; None where they are no picture."""
    if len(event) == 3 and event[0] in (1, 3):
        return {"height": event[1], "width": event[2], "channels": event[0], "first": True}
    if len(event) == 3 and event[2] in (1, 3):
        return {"height": event[0], "width": event[1], "channels": event[2], "first": False}
    if len(event) == 2 and min(event) >= 2:
        return {"height": event[0], "width": event[1], "channels": 1, "first": True}
    return None


def _flat(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of all sections, section.name → value."""
    return {
        f"{section}.{name}": value
        for section, values in sections.items()
        if isinstance(values, Mapping)
        for name, value in values.items()
    }
