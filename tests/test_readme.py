"""The README's Python runs as it stands, with fewer epochs and particles."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_python_blocks_run(clean_globals, tmp_path, monkeypatch, capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL))
    for long, short in (("epochs=20", "epochs=1"), ("num_particles=5000", "num_particles=50")):
        assert long in code
        code = code.replace(long, short)
    code = code.replace("torch.randn(100, 5))", "torch.randn(100, 5), 50)")
    code = code.replace("bv.compare(model, guide, x)", "bv.compare(model, guide, x, (1, 5, 50), num_temperatures=2)")
    code = code.replace("evidence(model, guide, x)", "evidence(model, guide, x, num_temperatures=2)")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(README), "exec"), {})  # noqa: S102 - our own file
    printed = capsys.readouterr().out
    assert "The ELBO falls short of the annealed log p(x) by" in printed
    assert "data policy: stochastic" in printed


def test_files_that_the_readme_names_exist():
    text = README.read_text(encoding="utf-8")
    named = re.findall(r"\]\(([\w./]+)\)", text) + re.findall(r"`((?:bayes_vae|experiments)/[\w/]+\.py)`", text)
    assert len(named) >= 5
    for name in named:
        assert (README.parent / name).exists(), name


def test_the_readme_leads_to_every_page_for_users():
    text = README.read_text(encoding="utf-8")
    parts = {"index.md", "contributing.md", "changelog.md", "combinations_table.md", "reference_table.md"}
    pages = {path.name for path in (README.parent / "docs").glob("*.md")} - parts
    assert not {page for page in pages if f"docs/{page}" not in text}
