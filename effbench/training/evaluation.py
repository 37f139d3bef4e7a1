"""How good a network is on a split: example by example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from effbench.compression.structure.fusion import fused
from effbench.data import ImageData, Split

BATCH_SIZE = 64


@dataclass(frozen=True)
class Evaluation:
    """correct: (n_examples,) bool, in the split's fixed order. loss: mean cross-entropy, in nats."""

    correct: np.ndarray
    loss: float

    @property
    def accuracy(self) -> float:
        """Correct ÷ seen."""
        return int(self.correct.sum()) / len(self.correct)


def evaluate(
    model: nn.Module, data: ImageData, split: Split, /, *, side: int, device: torch.device | None = None
) -> Evaluation:
    """Run `model` over a split at `side` pixels, in evaluation mode; leaves the model's mode and place as they were."""
    device = device or torch.device("cpu")
    home = next((p.device for p in model.parameters()), device)
    modes = [(module, module.training) for module in model.modules()]  # part of a network may be frozen
    correct, total_loss = [], 0.0
    model.to(device).eval()
    try:
        with torch.inference_mode(), fused(model):
            for images, labels in data.batches(split, side=side, batch_size=BATCH_SIZE):
                labels = labels.to(device)
                logits = model(images.to(device=device, memory_format=torch.channels_last)).float()
                total_loss += F.cross_entropy(logits, labels, reduction="sum").item()
                correct.append((logits.argmax(1) == labels).cpu().numpy())
    finally:
        model.to(home)
        for module, was_training in modes:
            module.training = was_training
    bits = np.concatenate(correct)
    return Evaluation(correct=bits, loss=total_loss / len(bits))
