"""Files that were changed at random: none makes anything but a documented error, and none takes long.

``python -m trust.fuzz --cases 10000`` prints how many were refused and how many were still readable, as JSON. Half of
the files of a run are signed anew after the change, so that their digest fits and their content has to be judged.
"""

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from trust.small_runs import interrupted_run, small_run

from bayes_vae.cli.settings_files import read_settings
from bayes_vae.data import load_data
from bayes_vae.errors import BayesVaeError
from bayes_vae.runs import RunDirectory, load, run_writer, save
from bayes_vae.settings import DataSettings
from bayes_vae.training.resuming import resume_point

SLOW = 20.0
"""Seconds that no single case may take, on a busy machine, once what reads it is imported."""

NASTY = [
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"{",
        b"[" * 5000,
        b'{"a":' * 3000,
        b"null",
        b"true",
        b'""',
        b"[]",
        b"{}",
        b"-1",
        b"1e999",
    ),
    *(b"NaN", b"-Infinity", b"9" * 400, b"9" * 5000, b"1" + b"0" * 30, b"\x1b[2J", b"../..", b"&a [*a, *a]", b"*a"),
    *(b"!!python/object:os.system", b"2001-01-01", b"0x10", b"1:30", b"? ", b"<<: ", b"'", b'"', b",", b"\r\n", b"\t"),
    *(b"100000000000", b"0.5", b"2", b"null,", "é\u202e".encode()),
]
"""What is put in place of a piece of a file."""


def changed(content: bytes, noise: random.Random) -> bytes:
    """A few random changes: bits, cuts, pieces twice, numbers and words of other kinds."""
    found = bytearray(content)
    for _ in range(noise.choice([1, 1, 2, 5])):
        place = noise.randrange(len(found) + 1)
        kind = noise.randrange(6)
        if kind == 0 and found:
            found[place % len(found)] ^= 1 << noise.randrange(8)
        elif kind == 1:
            del found[place:]
        elif kind == 2:
            del found[place : place + noise.randrange(1, 40)]
        elif kind == 3:
            found[place:place] = found[place : place + noise.randrange(1, 200)]
        else:
            size = noise.choice([0, 0, 1, 5, 30])
            found[place : place + size] = noise.choice(NASTY)
    return bytes(found)


def changed_value(content: bytes, noise: random.Random) -> bytes:
    """JSON with one of its values, anywhere, of another kind: still well-formed."""
    whole = json.loads(content)
    places = list(_places(whole))
    owner, key = noise.choice(places)
    others = [None, True, -1, 0, 1.5, 10**11, 2**70, "", "x", "\x1b[2J", [], {}, [[]], {"a": 1}, [1e300], "../x", [-1]]
    owner[key] = noise.choice(others)
    if noise.random() < 0.2 and isinstance(owner, dict):
        owner.pop(key)
    return json.dumps(whole).encode()


def _places(value):
    for key, entry in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(entry, dict | list):
            yield from _places(entry)


def read_run(folder: Path) -> None:
    """All that is read of a run."""
    directory = RunDirectory(folder)
    for which in ("best", "last"):
        directory.weights(which)
    _ = directory.history, directory.settings
    directory.suffix_for({"name": "x", "digest": "1" * 64, "policy": "none"})
    load(folder)
    resume_point(folder)


class Target:
    """Something that reads a file, and an unharmed file for it."""

    def __init__(self, name: str, read: Callable[[Path], object], folder: Path, file: str) -> None:
        self.name, self.read, self.folder, self.file = name, read, folder, file
        self.content = (folder / file).read_bytes()

    def read_unharmed(self) -> None:
        """Read the file as it is, which must go well."""
        self.read(self.folder if (self.folder / "manifest.json").exists() else self.folder / self.file)

    def try_one(self, noise: random.Random) -> str:
        """Change the file, read it, and put it back: "refused" or "read"."""
        structured = self.file.endswith(".json") and noise.random() < 0.5
        content = (changed_value if structured else changed)(self.content, noise)
        path, manifest = self.folder / self.file, self.folder / "manifest.json"
        before = manifest.read_bytes() if manifest.exists() else b""
        path.write_bytes(content)
        if before and path != manifest and noise.random() < 0.9:
            signed = json.loads(before)
            signed["files"][self.file] = hashlib.sha256(content).hexdigest()
            manifest.write_text(json.dumps(signed))
        try:
            self.read(self.folder if before else path)
        except BayesVaeError:
            return "refused"
        finally:
            path.write_bytes(self.content)
            if before:
                manifest.write_bytes(before)
        return "read"


def targets(folder: Path) -> list[Target]:
    """What is fuzzed: every file of a finished and of an unfinished run, settings, and arrays."""
    save(small_run(2), folder / "finished")
    with run_writer(folder / "unfinished", interrupted_run(2)):
        pass
    found = []
    for run in ("finished", "unfinished"):
        for path in sorted((folder / run).rglob("*")):
            name = path.relative_to(folder / run).as_posix()
            if path.is_file() and not name.endswith(".md"):
                found.append(Target(f"{run}: {name.rpartition('/')[2]}", read_run, folder / run, name))
    (folder / "settings").mkdir()
    (folder / "settings" / "a.yaml").write_text(
        "data: {data: digits, policy: static}\npair:\n  latent_dim: 2\n  hidden_dims: [20, 10]\n"
        "training:\n  epochs: 5\n  learning_rate: 1e-3\n  seed: 7\n"
        "evaluate: {num_particles: 5}\ncompare:\n  rungs: [1, 5]\n  tolerance: 0.1\n"
    )
    (folder / "arrays").mkdir()
    x = np.random.default_rng(0).integers(0, 2, (40, 9)).astype(np.uint8)
    np.save(folder / "arrays" / "a.npy", x)
    np.savez(folder / "arrays" / "b.npz", x=x, labels=x[:, 0])

    def read_array(path: Path) -> None:
        images = path.parent.name != "arrays"
        load_data(DataSettings(data=str(path.parent if images else path)))

    found.append(Target("settings: a.yaml", read_settings, folder / "settings", "a.yaml"))
    write_data(folder / "arrays", x)
    names = sorted(path.relative_to(folder / "arrays").as_posix() for path in (folder / "arrays").rglob("*.*"))
    found += [Target(f"data: {name}", read_array, folder / "arrays", name) for name in names if "MNIST" not in name]

    def read_mnist(path: Path) -> None:
        load_data("mnist", root=folder / "arrays")

    return found + [Target(f"data: {name}", read_mnist, folder / "arrays", name) for name in mnist_files(folder)]


def mnist_files(folder: Path) -> list[str]:
    """The four files of a small data set in MNIST's format."""
    raw = folder / "arrays" / "MNIST" / "raw"
    return sorted(path.relative_to(folder / "arrays").as_posix() for path in raw.iterdir())


def write_data(folder: Path, x: np.ndarray) -> None:
    """The other kinds of files of data: tables, a sparse matrix, images, MNIST."""
    from PIL import Image
    from scipy import sparse

    rows = "\n".join(",".join(map(str, row)) for row in x.tolist())
    (folder / "c.csv").write_text("a,b,c,d,e,f,g,h,i\n" + rows)
    (folder / "d.tsv").write_text(rows.replace(",", "\t"))
    sparse.save_npz(folder / "e.npz", sparse.csr_matrix(x * 7))
    for suffix in ("png", "gif", "bmp", "tiff", "jpg"):
        (folder / suffix).mkdir()
        for row in range(12):
            Image.fromarray(x[row].reshape(3, 3) * 255).save(folder / suffix / f"{row:02}.{suffix}")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x0c" + bytes(12))
        pixels = (x[:12, :4] * 255).tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x0c\0\0\0\x02\0\0\0\x02" + pixels)


def fuzz(cases: int, seed: int = 0) -> dict[str, int]:
    """Try so many changed files; how many were refused and read. What escapes is raised, with its number."""
    noise, counts, longest = random.Random(seed), Counter(), 0.0
    folder = Path(tempfile.mkdtemp())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            every = targets(folder)
            for target in every:
                target.read_unharmed()
            for number in range(cases):
                target = every[number % len(every)]
                start = time.monotonic()
                try:
                    counts[target.try_one(noise)] += 1
                except Exception as error:
                    raise AssertionError(f"case {number} (seed {seed}), {target.name}: {error!r}") from error
                longest = max(longest, time.monotonic() - start)
                assert longest < SLOW, f"case {number} (seed {seed}), {target.name}: {longest:.1f} s"
    finally:
        shutil.rmtree(folder)
    return {"cases": cases, **counts}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(fuzz(options.cases, options.seed)))
