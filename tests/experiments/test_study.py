"""What the experiments share: rows, training by hand, errors of means, and where figures go."""

from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure

import bayes_vae as bv
from bayes_vae.errors import SettingsError
from bayes_vae.experiments import study
from bayes_vae.settings import PairSettings

CPU = torch.device("cpu")
SMALL = PairSettings(latent_dim=2, hidden_dims=(4,))


@pytest.fixture(scope="module")
def digits():
    return bv.load_data("digits", policy="static")


def test_rows_come_with_what_the_estimators_are_told(digits):
    x, about = study.observe(digits.test, [3, 0, 10**6], 7, CPU)
    assert torch.equal(x, digits.test.observations([3, 0]))
    assert torch.equal(about.pop("index"), digits.test.index[[3, 0]])
    assert about == {"seed": 7, "data_policy": "static"}
    assert len(study.observe(digits.test, range(10**4), 7, CPU)[0]) == len(digits.test)


@pytest.mark.parametrize("last_epoch", [False, True])
def test_a_trained_pair_has_the_weights_that_were_asked_for(digits, monkeypatch, last_epoch):
    best, asked = study.new_pair(SMALL, digits, 0, CPU), []

    def fit(model, guide, data, **settings):
        asked.append(settings)
        programs = {"model": model, "guide": guide}.items()
        return SimpleNamespace(
            last_state={f"{of}.{k}": v + 1 for of, part in programs for k, v in part.state_dict().items()}
        )

    monkeypatch.setattr(study.bv, "fit", fit)
    trained = study.trained_pair(SMALL, digits, seed=0, device=CPU, last_epoch=last_epoch, epochs=3)
    for program, started in zip(trained, best, strict=True):
        for found, at_start in zip(program.parameters(), started.parameters(), strict=True):
            assert torch.equal(found, at_start + last_epoch)
    assert asked == [{"epochs": 3, "seed": 0, "device": "cpu", "progress": "none", "interruptible": False}]


def test_training_by_hand_goes_down_over_every_row():
    target, place, seen = torch.arange(250.0), torch.zeros(250, requires_grad=True), []

    def loss(rows):
        seen.append(rows)
        return (place[rows] - target[rows]).square().mean()

    generator = torch.Generator().manual_seed(0)
    study.descend(loss, [place], 250, epochs=2, learning_rate=0.1, generator=generator)
    assert [len(rows) for rows in seen] == [100, 100, 50] * 2
    for epoch in (seen[:3], seen[3:]):
        assert torch.cat(epoch).sort().values.tolist() == list(range(250))
    assert not torch.equal(seen[0], seen[3])
    assert float((place.detach() - target).square().mean()) < float(target.square().mean())


def test_a_mean_has_the_error_of_its_observations():
    assert study.mean_error(torch.tensor([1.0, 2.0, 3.0, 6.0])) == pytest.approx((3.0, (14 / 3) ** 0.5 / 2))
    assert study.difference((0.7, 0.03), (0.5, 0.04)) == pytest.approx((0.2, 0.05))


@pytest.mark.parametrize(("out", "expected"), [("new/folder", "new/folder/name.png"), ("here.PNG", "here.PNG")])
def test_a_figure_goes_where_it_was_asked_for(tmp_path, capsys, out, expected):
    path = study.write_figure(Figure(), tmp_path / out, "name")
    assert path == tmp_path / expected
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"Figure: {path}\n"


def test_a_figure_of_another_format_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"out is a folder, or a path that ends in .png, got '.*a.pdf'. Figures"):
        study.write_figure(Figure(), str(tmp_path / "a.pdf"), "name")
