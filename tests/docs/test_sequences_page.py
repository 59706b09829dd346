"""The page on sequences: its code runs, and its pair is a density whose padding does not count."""

import re
from pathlib import Path

import torch

import bayes_vae as bv

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sequences.md"


def cells():
    return re.findall(r"```\{code-cell\}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_runs_from_data_to_diagnosis(clean_globals, capsys):
    code = "\n".join(cells()).replace("epochs=15", "epochs=1").replace("kl_warmup_epochs=5, ", "")
    code = code.replace("seconds=20", "seconds=1")
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102 - our own file
    printed = capsys.readouterr().out
    assert "perplexity at most" in printed
    assert "nats a token" in printed


def test_padding_counts_for_nothing_and_tokens_see_only_those_before(clean_globals):
    """Other padding, and more of it, leave every term as it is; a changed token moves later logits alone."""
    names = {}
    exec(compile("\n".join(cells()[:2]).partition("pair = Words()")[0], str(PAGE), "exec"), names)  # noqa: S102
    x, lengths, pair = names["x"][:6], names["lengths"][:6], names["Words"](latent_dim=2, hidden=8)
    terms = bv.log_terms(pair.model, pair.guide, (x, lengths), 2)
    padded = torch.cat([x, torch.zeros(6, 3, dtype=x.dtype)], 1)
    padded[:, x.shape[1] - 1] = 3
    there = torch.arange(padded.shape[1]) < lengths.unsqueeze(-1)
    other = bv.log_terms(pair.model, pair.guide, (torch.where(there, padded, 7), lengths), 2)
    torch.testing.assert_close(other.log_importance_weights, terms.log_importance_weights)
    with torch.no_grad():
        z = torch.zeros(6, 2)
        changed = x.clone()
        changed[:, 2] = (changed[:, 2] + 1) % 5
        moved = (pair.write(z, x) != pair.write(z, changed)).any(-1)
    assert not moved[:, :3].any()
    assert moved[:, 3].all()
