"""Which settings can work together, from what the table says of each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bayes_vae.errors import SettingsError
from bayes_vae.parts.part import Part, PartKind
from bayes_vae.parts.registry import find, listed, names, rows
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings

__all__ = ["check_combination", "with_fitting_policy"]

PAIR_KINDS: tuple[PartKind, ...] = ("structure", "prior", "guide", "network", "likelihood")


def check_combination(pair: PairSettings, training: TrainingSettings | None = None) -> None:
    """Refuse settings that cannot work together.

    Args:
        pair: model and guide.
        training: how they are trained; None to look at the pair alone.

    Raises:
        SettingsError: the first combination that cannot work, and why.

    >>> check_combination(PairSettings(prior="vamp", guide="spline-flow"))
    Traceback (most recent call last):
    ...
    bayes_vae.errors.SettingsError: prior 'vamp' does not go with guide 'spline-flow': ...
    """
    chosen: dict[PartKind, Part] = {kind: find(kind, getattr(pair, kind)) for kind in PAIR_KINDS}
    if training is not None:
        chosen["objective"] = find("objective", training.objective)
    problems = [*_of_needs(chosen), *_of_settings(chosen, pair)]
    if training is not None:
        problems += _of_the_kl(chosen, training)
    if problems:
        raise SettingsError(problems[0])


def with_fitting_policy(data: DataSettings, pair: PairSettings) -> DataSettings:
    """The data with a policy that the pair takes, where none was chosen.

    A likelihood of other than zeros and ones takes pixels as they are. A guide with one q for each observation takes
    pixels that are drawn once.

    Raises:
        SettingsError: such a guide, and pixels that are drawn anew at each use; a number of labels that are seen, and
            a structure that infers none.

    >>> with_fitting_policy(DataSettings(), PairSettings(likelihood="normal")).policy
    'none'
    """
    structure = find("structure", pair.structure)
    if data.num_labelled is not None and "infers labels" not in structure.offers:
        inferring = listed(names("structure", "infers labels"))
        seen = "every label" if "needs labels" in structure.offers else "no label"
        raise SettingsError(
            f"num_labelled goes with structure {inferring} only: {pair.structure!r} sees {seen}. Leave num_labelled "
            f"out, or choose structure {inferring}."
        )
    if "binary" not in find("likelihood", pair.likelihood).data_kinds:
        return data if data.policy else replace(data, policy="none")
    if "one q per observation" not in find("guide", pair.guide).offers:
        return data
    if data.policy == "stochastic":
        raise SettingsError(
            f"guide {pair.guide!r} does not go with policy 'stochastic': it has one q for each observation, and an "
            "observation whose pixels are drawn anew at each use is another one each time. Choose policy 'static' or "
            "'threshold'."
        )
    return replace(data, policy=data.policy or "static")


def _of_needs(chosen: Mapping[PartKind, Part]) -> Iterator[str]:
    for part in chosen.values():
        for need in part.needs:
            other = chosen.get(need.kind)
            if other is not None and need.trait not in other.offers:
                yield (
                    f"{part.kind} {part.name!r} does not go with {need.kind} {other.name!r}: {need.because}. Choose "
                    f"{need.kind} {listed(names(need.kind, need.trait))}, or another {part.kind}."
                )


def _of_settings(chosen: Mapping[PartKind, Part], pair: PairSettings) -> Iterator[str]:
    for part in chosen.values():
        for least in part.least:
            value = getattr(pair, least.setting)
            bound = getattr(pair, least.bound) if isinstance(least.bound, str) else least.bound
            count = len(value) if isinstance(value, tuple) else value
            if count < bound:
                what = f"a number of {least.setting}" if isinstance(value, tuple) else least.setting
                whose = f", its {least.bound}" if isinstance(least.bound, str) else ""
                yield (
                    f"{part.kind} {part.name!r} needs {what} of at least {bound}{whose}, got {count}: {least.because}."
                )
    for kind in PAIR_KINDS:
        for owner in rows(kind):
            for setting in owner.only:
                value, other = getattr(pair, setting), chosen[kind]
                if setting not in other.options and value != getattr(PairSettings, setting):
                    yield (
                        f"{setting} {value!r} goes with {kind} {owner.name!r} only: {other.name!r} does not take it. "
                        f"Leave {setting} out."
                    )


def _of_the_kl(chosen: Mapping[PartKind, Part], training: TrainingSettings) -> Iterator[str]:
    """What the KL of the pair must be for the training's choices."""
    makers = [chosen[kind] for kind in ("structure", "guide", "prior")]
    if training.kl == "analytic" and not all("closed-form KL" in part.offers for part in makers):
        structure, guide, prior = (f"{part.kind} {part.name!r}" for part in makers)
        yield (
            f"kl 'analytic' needs a closed form of the KL, which {structure} with {guide} and {prior} lacks: it is "
            "known between normals of one latent. Choose kl 'auto' or 'sampled'."
        )
    if training.free_bits and not all("KL by dimension" in part.offers for part in makers):
        structures, guides, priors = (listed(names(part.kind, "KL by dimension")) for part in makers)
        yield (
            "free_bits needs the KL of each latent dimension by itself, which only factorized normals have: choose "
            f"structure {structures}, guide {guides} and prior {priors}, or leave free_bits out."
        )
