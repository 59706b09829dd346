"""A command in several processes: started as torchrun starts them, ended together, and what is wrong said once."""

import os
import signal
import socket
import sys
import threading

import pytest
import torch

from bayes_vae.cli import main, processes
from bayes_vae.cli.processes import run_in_processes
from bayes_vae.errors import ProcessesError
from bayes_vae.runs import RunDirectory
from bayes_vae.terms.devices import resolve_device
from bayes_vae.terms.world import join_world

HEAD = "import os, signal, sys, time; rank = os.environ['RANK']\n"


def run(code, count=2):
    """A small program in so many processes."""
    return run_in_processes(count, ["-c", HEAD + code], [sys.executable])


def test_each_process_knows_its_place(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS"]
    program = (
        f"print('hello')\nopen({str(tmp_path)!r} + '/' + rank, 'w').write(' '.join(os.environ[n] for n in {names}))"
    )
    assert run(program, 3) == 0
    threads = max(1, (os.cpu_count() or 1) // 3)
    for rank in "012":
        assert (tmp_path / rank).read_text() == f"{rank} {rank} 3 3 127.0.0.1 {threads}"
    assert capfd.readouterr().out == "hello\n"


FAILURES = {
    "one of the others": (
        "sys.exit('bayes-vae: no such row' if rank == '1' else 3)",
        (2, "bayes-vae: process 1 of 2: no such row\n"),
    ),
    "all of them": ("sys.exit(2)", (2, "")),
    "that of rank 0": ("print('bad', file=sys.stderr); sys.exit(2 if rank == '0' else 3)", (2, "bad\n")),
    "killed": (
        "if rank == '1': os.kill(os.getpid(), signal.SIGKILL)\nelse: sys.exit(3)",
        (2, "bayes-vae: process 1 of 2: it was ended by SIGKILL.\n"),
    ),
    "in silence": ("sys.exit(7 if rank == '1' else 0)", (7, "bayes-vae: process 1 of 2: it ended with exit code 7.\n")),
    "while the others wait for it": (
        "sys.exit('bayes-vae: no such row') if rank == '1' else time.sleep(60)",
        (2, "bayes-vae: process 1 of 2: no such row\n"),
    ),
    "nobody knows why": ("sys.exit(3)", (2, "")),
}


@pytest.mark.parametrize("case", FAILURES)
def test_one_that_fails_ends_all_and_is_heard_once(case, monkeypatch, capfd):
    monkeypatch.setattr(processes, "SECONDS_TO_END", 0.5)
    code, expected = FAILURES[case]
    assert (run(code), capfd.readouterr().err) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_handed_on_once(number, tmp_path):
    program = f"""
got = []
for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, lambda number, frame: got.append(number))
open({str(tmp_path)!r} + '/' + rank, 'w')
while not got: time.sleep(0.01)
time.sleep(0.2)
sys.exit(128 + got[0] if len(got) == 1 else 1)"""

    def ask():
        while len(list(tmp_path.iterdir())) < 2:
            threading.Event().wait(0.01)
        os.kill(os.getpid(), number)

    from bayes_vae.process import ending_signals_raise

    asking = threading.Thread(target=ask)
    asking.start()
    with ending_signals_raise():
        assert run(program) == 128 + number
    asking.join()


def test_a_port_that_is_taken(command, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        outcome = command("train", "--devices", "2")
    assert outcome.code == 2
    assert outcome.err == (
        f"bayes-vae: the processes have nowhere to meet: port {port}, which MASTER_PORT names, is not free on "
        "127.0.0.1 (Address already in use). Unset MASTER_PORT, or name another one.\n"
    )


def test_no_port_at_all(command, monkeypatch):
    def bind(*_):
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(processes.socket, "socket", type("Socket", (socket.socket,), {"bind": bind}))
    outcome = command("train", "--devices", "2")
    assert outcome.code == 2
    assert "nowhere to meet: no port is free on 127.0.0.1 (Address already in use). End other programs" in outcome.err


@pytest.mark.parametrize(
    ("environment", "words", "message"),
    [
        ({}, ["--devices", "0"], "devices must be at least 1, got 0."),
        ({}, ["--devices", "two"], "--devices: expected a whole number, got two"),
        ({"MASTER_PORT": "x"}, ["--devices", "2"], "MASTER_PORT='x' is no port: expected a number from 1 to 65535."),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            ["--devices", "3"],
            "--devices 3, but torchrun started 2 processes on this machine: leave --devices out.",
        ),
        (
            {"WORLD_SIZE": "2", "RANK": "2"},
            [],
            "RANK=2 in the environment, but WORLD_SIZE=2: expected a number from 0 to 1. Start the processes with",
        ),
        (
            {"WORLD_SIZE": "2", "RANK": "0"},
            ["--latent-dim", "2"],
            "process 0 of 2 could not join the others (Error initializing torch.distributed using env:// rendezvous",
        ),
    ],
)
def test_numbers_that_cannot_be(command, monkeypatch, tmp_path, environment, words, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = command("train", *words, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_somebody_else_has_under_torchrun(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        numbers = {"WORLD_SIZE": 2, "RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": taken.getsockname()[1]}
        for name, value in numbers.items():
            monkeypatch.setenv(name, str(value))
        with pytest.raises(ProcessesError, match=r"process 0 of 2 could not join the others \(.*the port must be free"):
            join_world(torch.device("cpu"))


def test_each_process_has_a_cuda_device_of_its_own(monkeypatch):
    from bayes_vae.errors import SettingsError

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [str(resolve_device(name)) for name in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    with pytest.raises(SettingsError, match="'cuda:1' is one device, and 2 processes work on this machine, each with"):
        resolve_device("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(SettingsError, match="3 processes work on this machine, and torch sees 2 CUDA devices: "):
        resolve_device("auto")


def test_two_devices_train_the_run_that_one_trains(tiny, trained, tmp_path, capfd):
    capfd.readouterr()
    assert main(["train", *tiny, "--out", str(tmp_path / "run"), "--devices", "2"]) == 0
    printed = capfd.readouterr()  # of other processes
    assert printed.out.count("Trained on digits: 1,297 observations") == 1
    assert printed.err.startswith("training on cpu (1 thread) in 2 processes, precision 32\n")
    assert len(printed.err.splitlines()) == 4
    one, two = RunDirectory(trained).history, RunDirectory(tmp_path / "run").history
    for here, there in zip(one, two, strict=True):
        figures = {name: value for name, value in here.items() if "seconds" not in name}
        assert figures == pytest.approx({name: there[name] for name in figures}, rel=1e-5)  # of float32
