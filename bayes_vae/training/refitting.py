"""A better p(z) for a trained pair: decoder and q stay as they are, the prior is fitted to the codes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from bayes_vae.data import Data, as_data
from bayes_vae.errors import DataError, NotDefinedError, ProgramError, SettingsError
from bayes_vae.estimators import AggregatePosteriorTerms, aggregate_posterior_terms
from bayes_vae.models.model import PartsModel
from bayes_vae.pairs.building import PSEUDO_INPUT_RANGES
from bayes_vae.parts.registry import find
from bayes_vae.progress import Progress, shown
from bayes_vae.runs import Run, compare_models
from bayes_vae.settings import RefitPriorSettings, as_json
from bayes_vae.terms import log_terms
from bayes_vae.terms.devices import resolve_device
from bayes_vae.terms.isolation import isolated_context
from bayes_vae.terms.program import Program
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.reached import evaluation_mode
from bayes_vae.terms.traits import traits_of
from bayes_vae.training.prior_fitting import FittedPrior, fit_to_codes
from bayes_vae.training.refitted_prior import NEW, OLD, RefittedPrior

__all__ = ["refit_prior"]

CODES, HELD_OUT_CODES, MARGINAL_CODES = 8, 16, 10
"""Draws from q for each training row, validation row, and test row behind the marginal KL."""


def refit_prior(
    model: Program,
    guide: Program,
    data: Data | Any,
    prior: str | Mapping[str, Any] | None = None,
    settings: RefitPriorSettings | None = None,
    *,
    sections: Mapping[str, Any] | None = None,
    command: str = "",
    progress: Progress | bool | None = None,
    **overrides: Any,
) -> RefittedPrior:
    r"""Fit a better p(z) to the codes of a trained pair, whose decoder and q stay as they are.

    .. math:: \max_{p_{new}} \frac1N \sum_n E_{q(z \mid x_n)} \log p_{new}(z)

    The maximum is the aggregate posterior q(z), whatever the family can follow of it. What the ELBO gains is what the
    marginal KL loses; log p(x) usually gains as much, and good reconstructions with bad samples become good samples.

    The prior is fitted to training rows and stopped on validation rows. On test rows log p(x) under both priors is
    compared, observation by observation (:func:`bayes_vae.compare_models`): unless it rose by more than twice its
    error, the old prior is kept. Where log p(x) under the old prior has not converged, so that no order can be stated,
    the ELBO decides in the same way, and the result says so.

    Args:
        model: a model of this library with one latent and a prior by name: :class:`bayes_vae.models.VAE`, or one of
            :func:`bayes_vae.pair_from_networks`.
        guide: its guide, an encoder that does not look at the model's prior.
        data: from :func:`bayes_vae.load_data`, or rows, as in :func:`bayes_vae.fit`.
        prior: "mixture", "flow", "vamp" or "learned-normal", or a mapping of "name" and options; that of the settings
            when None.
        settings: see :class:`bayes_vae.settings.RefitPriorSettings`.
        sections: sections of settings to store in the run, such as ``data`` and ``training`` of the run it came from.
        command: the command line, stored in the run.
        progress: called with (done, 3 N), as the fit counts as much as the N test rows under either prior; or True, as
            in :func:`bayes_vae.log_terms`.
        **overrides: single settings, such as ``epochs=50``.

    Returns:
        :class:`bayes_vae.RefittedPrior`; the given model is unchanged.

    Raises:
        ProgramError: a model whose prior is no part, or a guide whose q depends on it.
        SettingsError: a prior with nothing to fit, or unknown settings.
        DataError: no training, validation or test rows.

    Reference: Dai, Wipf (2019), "Diagnosing and enhancing VAE models", section 4, fits a second model to the codes;
    Ghosh et al. (2020), "From variational to deterministic autoencoders", section 4, a mixture.
    """
    unknown = [name for name in overrides if name not in RefitPriorSettings.__dataclass_fields__]
    if unknown:
        known = ", ".join(RefitPriorSettings.__dataclass_fields__)
        raise SettingsError(f"refit_prior knows no setting {unknown[0]!r}: choose from {known}.")
    if settings is not None and not isinstance(settings, RefitPriorSettings):
        raise SettingsError(f"settings must be a RefitPriorSettings, got {type(settings).__name__}.")
    settings = replace(settings or RefitPriorSettings(), **overrides)
    resolve_device(settings.device)
    owner = _refittable(model, guide)
    data = as_data(data, model, "refit_prior")
    empty = [name for name in ("train", "validation", "test") if not len(getattr(data, name))]
    if empty:
        raise DataError(
            f"refit_prior fits to training rows, stops on validation rows and compares on test rows, but there are no "
            f"{empty[0]} rows. Split the data, for instance with load_data(..., split=(0.8, 0.1, 0.1))."
        )
    chosen = _chosen(prior, settings, data)
    device = next(owner.parameters()).device
    with shown(progress, "prior") as told:
        with isolated_context(gradients=True), isolated_rng(derived_seed(settings.seed, "refit prior"), device):
            new, fitted = _fitted(owner, guide, data, chosen, settings, told)
        about = {key: value for key, value in as_json(settings).items() if key not in ("out", "overwrite")}
        run = _run(
            new, guide, data, fitted, {**(sections or {}), "refit_prior": {**about, "prior": chosen["name"]}}, command
        )
        return _compared(owner, new, guide, data, settings, fitted, run, told)


def _refittable(model: Program, guide: Program) -> PartsModel:
    """The model, if its p(z) can be replaced and the guide's q does not depend on it."""
    if not isinstance(model, PartsModel):
        raise ProgramError(
            f"refit_prior replaces the prior of a model whose p(z) is a part by name, a VAE or one of "
            f"pair_from_networks, got {type(model).__name__}. Make the pair of your networks with "
            "pair_from_networks(encoder, decoder, ...), then refit its prior."
        )
    follows = "model" in inspect.signature(type(guide)).parameters if isinstance(guide, nn.Module) else False
    if follows or traits_of(guide).needs_index:
        raise ProgramError(
            f"{type(guide).__name__} computes q(z given x) from the model's own prior, so q would not stay as it is. "
            "Refit the prior of a pair whose guide is an encoder alone, such as AmortizedNormalGuide."
        )
    return model


def _chosen(prior: str | Mapping[str, Any] | None, settings: RefitPriorSettings, data: Data) -> dict[str, Any]:
    """The prior with its options, as a model takes it: a name has those of the settings, a mapping its own."""
    if not isinstance(prior, Mapping):
        settings = replace(settings, prior=settings.prior if prior is None else prior)
        options = find("prior", settings.prior).options
        prior = {"name": settings.prior, **{name: getattr(settings, setting) for setting, name in options.items()}}
    takes_values = "values" in inspect.signature(find("prior", prior.get("name")).cls).parameters
    values = {"values": PSEUDO_INPUT_RANGES[data.observation_kind]} if takes_values else {}
    return {**values, **prior}


def _fitted(
    model: PartsModel, guide: Any, data: Data, prior: Any, settings: RefitPriorSettings, progress: Progress | None
) -> tuple[PartsModel, FittedPrior]:
    """The model under a prior that is fitted to the codes."""
    new = model.with_prior(prior).eval()
    if not any(weight.requires_grad for weight in new.prior_family.parameters()):
        raise SettingsError(f"the prior {new.prior_family.name!r} has nothing to fit: choose mixture, flow or vamp.")
    new.attach_guide(guide)
    seed = derived_seed(settings.seed, "codes")
    train = log_terms(model, guide, data.train, CODES, keep_latents=True, seed=seed)
    validation = log_terms(model, guide, data.validation, HELD_OUT_CODES, keep_latents=True, seed=seed)
    (codes,) = train.latents.values()
    new.start_prior_at(data.train[:1000].rows_for(model).read()[0])
    new.prior_family.start_at_codes(codes.flatten(0, 1))
    count = min(settings.num_observations, len(data.test))
    told = None if progress is None else lambda done, of: progress(count * done / of, 3 * count)
    with evaluation_mode(new, guide):
        return new, fit_to_codes(new.prior_family, train, validation, settings, told)


def _compared(
    old: PartsModel,
    new: PartsModel,
    guide: Any,
    data: Data,
    settings: RefitPriorSettings,
    fitted: FittedPrior,
    run: Run,
    progress: Progress | None,
) -> RefittedPrior:
    """Both priors on the test rows."""
    x = data.test[: settings.num_observations].seeded(settings.seed)
    comparison = compare_models(
        {OLD: (old, guide), NEW: (new, guide)},
        x,
        num_particles=settings.num_particles,
        num_temperatures=settings.num_temperatures,
        seed=settings.seed,
        progress=None if progress is None else lambda done, of: progress(len(x) + done, len(x) + of),
    )
    seed = derived_seed(settings.seed, "marginal KL")
    rises = [log_terms(each, guide, x, HELD_OUT_CODES, seed=seed).log_prior for each in (old, new)]
    marginal: list[AggregatePosteriorTerms] = []
    reason = ""
    try:
        marginal = [aggregate_posterior_terms(each, guide, x, MARGINAL_CODES, seed=seed) for each in (old, new)]
    except NotDefinedError as error:
        reason = str(error)
    return RefittedPrior(old, new, guide, comparison, rises[1] - rises[0], tuple(marginal), reason, fitted, run)


def _run(model: PartsModel, guide: Any, data: Data, fitted: FittedPrior, settings: dict[str, Any], command: str) -> Run:
    """What :func:`bayes_vae.save` writes."""
    state = {
        f"{role}.{key}": value.detach().cpu().clone()
        for role, module in (("model", model), ("guide", guide))
        if isinstance(module, nn.Module)
        for key, value in module.state_dict().items()
    }
    last = {f"model.prior_family.{key}": value.cpu() for key, value in fitted.last_weights.items()}
    return Run(
        model,
        guide,
        settings=settings,
        data=data.summary(),
        history=fitted.history,
        best_state=state,
        last_state=state | last,
        best_epoch=fitted.best_epoch,
        ending=fitted.ending,
        parameter_names=tuple(
            f"model.prior_family.{name}"
            for name, weight in model.prior_family.named_parameters()
            if weight.requires_grad
        ),
        command=command,
    )
