"""What the processes of a test need, imported once by the one that they are forked from."""

import torch
from processes import trainings

torch.set_num_threads(1)
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports half of torch

__all__ = ["trainings"]
