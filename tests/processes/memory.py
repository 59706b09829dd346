"""How the memory of a process grows with the data that it works on."""

from pathlib import Path

from processes.trainings import trained

import bayes_vae as bv
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training


def held():
    """Bytes that this process holds itself, without the pages of files that the system may drop at any time."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def grown_by_training_on(path):
    """By how much that grows while a pair is trained on the rows of a file for a few steps, and the training rows."""
    trained("amortized normal")  # imports what training does
    before, highest, step = held(), [0], Training.step

    def looked_at(training):
        step(training)
        highest.append(held())
        training.steps_done = min(training.steps_per_epoch, training.steps_done + training.steps_per_epoch // 3)

    Training.step = looked_at
    try:
        data = bv.load_data(path, stream=True)
        pair = build_pair(PairSettings(latent_dim=2, hidden_dims=(4,)), data)
        bv.fit(*pair, data, epochs=1, batch_size=64, progress="none")
    finally:
        Training.step = step
    return max(*highest, held()) - before, len(data.train)
