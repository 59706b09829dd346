"""Which data, and which model and guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from bayes_vae.errors import SettingsError
from bayes_vae.parts.registry import names
from bayes_vae.settings.literals import (
    PARTS,
    Colour,
    GuideName,
    Kind,
    LikelihoodName,
    Network,
    NoiseScale,
    Policy,
    PriorName,
    Structure,
)
from bayes_vae.settings.setting_types import at_least, check_types, one_of


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how their pixels become observations.

    Args:
        data: digits, mnist, fashion-mnist, kmnist, emnist-letters (or -balanced, -byclass, -bymerge, -digits, -mnist),
            omniglot, the path of a .csv, .npy, .npz or .h5ad file, or of a folder of images or of .npy files.
        data_root: folder of downloaded data; else BAYES_VAE_DATA, else the user's cache folder.
        policy: how pixels become zeros and ones: stochastic (drawn anew at each use), static (drawn once),
            threshold (above one half), none (taken as they are); when not given, stochastic, and for counts and
            real values none.
        kind: what the numbers of an array are: binary, gray (pixels), counts (whole numbers from 0 on), real, or auto
            (detected from the numbers, and refused where that is ambiguous).
        image_size: pixels along each side, to which a folder's images are resized; when not given, all must have one
            size.
        colour: for a folder's images: gray, or rgb with the colours first; when not given, as they are.
        num_labelled: training images whose label a semi-supervised model sees, the same number for each class
            where there are enough; all when not given.
        validation_data: a file of validation rows, where the file of data holds training rows alone.
        test_data: a file of test rows, where the file of data holds training rows alone.
        split: training, validation and test rows, as three fractions or numbers of rows; when not given, 0.8 0.1
            0.1, and with 100 to 199 rows, 20 each for validation and test.
        label_column: the column of a table that holds labels.
        standardize: bring each column of real values to mean 0 and deviation 1 over the training rows.
        standardize_columns: the same for these columns of a table alone, by name (a blank in a name is written _).
        stream: leave the rows of an .npy file on disk and read them when a batch asks for them, as those of a folder of
            .npy files are.
    """

    data: str = "digits"
    data_root: str | None = None
    policy: Policy | None = None
    kind: Kind = "auto"
    image_size: int | None = None
    colour: Colour | None = None
    num_labelled: int | None = None
    validation_data: str | None = None
    test_data: str | None = None
    split: tuple[float, ...] = ()
    label_column: str | None = None
    standardize: bool = False
    standardize_columns: tuple[str, ...] = ()
    stream: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.split) not in (0, 3) or min(self.split, default=0) < 0:
            raise SettingsError(
                "split must be three fractions or numbers of rows, for training, validation and test, such as 0.8 0.1 "
                f"0.1, got {' '.join(f'{part:g}' for part in self.split)}."
            )
        if self.image_size is not None:
            at_least("image_size", self.image_size, 1)
        if self.num_labelled is not None:
            at_least("num_labelled", self.num_labelled, 1)


@dataclass(frozen=True)
class PairSettings:
    """The networks of the model and the guide.

    Args:
        latent_dim: size of z (with two layers: of z1, the one nearest to x).
        hidden_dims: widths (for conv: channels) of the hidden layers, from the data's side; the decoder mirrors them.
        activation: tanh, relu, elu, silu, softplus or identity.
        network: kind of encoder and decoder.
        structure: latents and labels of the model.
        top_latent_dim: size of z2, the latent above z1.
        top_hidden_dims: widths between z1 and z2, from z1's side.
        likelihood: p(x given z), by the kind of data.
        noise_scale: standard deviation of a pixel; the initial value where it is learned.
        noise: whether that scale is fixed, shared (one for all pixels, learned) or per-pixel (from the decoder).
        num_categories: number of values; one more than the data's largest when not given.
        groups: each NAME=LIKELIHOOD:COLUMNS, the columns by name or number with + between them, 0-9 for a range and *
            for the rest, such as body=normal:height+weight visits=poisson:* (a blank in a name is written _).
        prior: p(z).
        num_components: components of the mixture.
        guide: q(z given x).
        rank: rank of the covariance, beside its diagonal.
        num_transforms: transforms of the flow.
        num_refinements: gradient steps.
    """

    latent_dim: int = 8
    hidden_dims: tuple[int, ...] = (200, 200)
    activation: str = "tanh"
    network: Network = "mlp"
    structure: Structure = "vae"
    top_latent_dim: int = 4
    top_hidden_dims: tuple[int, ...] = (100, 100)
    likelihood: LikelihoodName = "bernoulli"
    noise_scale: float = 0.2
    noise: NoiseScale = "fixed"
    num_categories: int | None = None
    groups: tuple[str, ...] = ()
    prior: PriorName = "standard-normal"
    num_components: int = 20
    guide: GuideName = "normal"
    rank: int = 2
    num_transforms: int = 2
    num_refinements: int = 5

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("latent_dim", "top_latent_dim", "num_components", "rank", "num_transforms", "num_refinements"):
            at_least(name, getattr(self, name), 1)
        for name in ("hidden_dims", "top_hidden_dims"):
            for width in getattr(self, name):
                at_least(f"each of {name}", width, 1)
        if self.num_categories is not None:
            at_least("num_categories", self.num_categories, 2)
        if not self.noise_scale > 0:
            raise SettingsError(f"noise_scale must be above 0, got {self.noise_scale:g}.")
        one_of("noise", self.noise, get_args(NoiseScale))
        for kind in PARTS.values():
            if hasattr(self, kind):
                one_of(kind, getattr(self, kind), names(kind))
