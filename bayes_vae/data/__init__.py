"""Data sets with an explicit policy: how their pixels become observations x."""

from bayes_vae.data.data_set import Data, require_binary, require_fit, require_kind
from bayes_vae.data.for_program import as_data
from bayes_vae.data.kinds import KINDS
from bayes_vae.data.load import DATA_NAMES, load_data
from bayes_vae.data.policies import POLICIES
from bayes_vae.data.split import Split, inputs_of
from bayes_vae.data.standardization import Standardization, unscaled_note

__all__ = [
    "DATA_NAMES",
    "KINDS",
    "POLICIES",
    "Data",
    "Split",
    "Standardization",
    "as_data",
    "inputs_of",
    "load_data",
    "require_binary",
    "require_fit",
    "require_kind",
    "unscaled_note",
]
