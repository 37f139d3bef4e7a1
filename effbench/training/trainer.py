"""All that a training carries from one step to the next, and one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.constraints.stack import advancing
from effbench.compression.structure.held_masks import HeldMasks
from effbench.training.attributes import attributes_of, set_attributes
from effbench.training.averaging import WeightAverage
from effbench.training.layout import MEMORY_FORMATS
from effbench.training.length import Length
from effbench.training.memory import N_WATCHED, TensorMemory
from effbench.training.optimizers import as_parameters, make_optimizer
from effbench.training.options import TrainingOptions
from effbench.training.rate_pressure import RatePressure
from effbench.training.schedules import Schedule
from effbench.training.stopping import Stopping
from effbench.training.tensors import copy_into, tensors_of

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""loss(outputs, images, targets) -> (), to be minimised: of what the network makes of a batch (in float32), of the
images as it sees them, and of the examples' targets, or their numbers in the training split, int64 (n,); all on the
training's device."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
STATE_VERSION = 2
"""Bumped when `Trainer.state_dict` has another form."""


class Trainer:
    """A training between two steps: `state_dict` holds every bit that decides how it goes on.

    It is made on the network as it is before its masks are held; `step` is for when they are. is_pressed: whether what
    learned grids cost is a part of what it descends.
    """

    def __init__(
        self,
        model: nn.Module,
        options: TrainingOptions,
        /,
        *,
        length: Length,
        loss: Loss,
        generator: torch.Generator,
        device: torch.device,
        is_pressed: bool = False,
    ) -> None:
        self.model, self.options, self.length, self.loss = model, options, length, loss
        self.generator, self.device = generator, device
        self.optimizer = make_optimizer(model, options)
        self.schedule = Schedule(self.optimizer, options, length)
        self.average = None if options.ema is None else WeightAverage(model, options.ema)
        self.scaler = torch.amp.GradScaler(device.type) if options.precision == "float16" else None
        self.stopping = Stopping(options)
        self.pressure = RatePressure.on(model, n_steps=length.n_batches, device=device) if is_pressed else None
        self.memory = TensorMemory()
        self.outputs = self.value = torch.empty(0)
        """What the network made of the last batch, and its loss, ()."""
        self.n_steps_done = 0
        self.n_epochs_done = 0
        self._first_tensors = tensors_of(model)
        self._advance = advancing(model)
        self._constraints = {n: m for n, m in model.named_modules() if isinstance(getattr(m, "settled", None), bool)}
        self._memory_format = MEMORY_FORMATS[options.layout]
        self._dtype, self._is_mixed = _DTYPES[options.precision], options.precision != "float32"
        # What AdamW does with a weight depends on that weight alone; of others, and of a norm of all, that is not so.
        self._masks_gradients = options.optimizer is not None or options.clip is not None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the network, under the names that they have while no mask is held; in its own memory."""
        now = tensors_of(self.model)
        return {name: now.get(name, first) for name, first in self._first_tensors.items()}

    @property
    def network(self) -> nn.Module:
        """The network that would be kept, were the training to end now: its average where there is one."""
        return self.model if self.average is None or not self.average.n_averaged else self.average.network

    def step(self, batch: list[Tensor], masks: HeldMasks, /) -> None:
        """Take one step on a batch: [images, targets], which is emptied, so that only what is used is in memory."""
        targets, images = batch.pop(), batch.pop()
        with self.memory if self.n_steps_done < N_WATCHED else nullcontext():
            self._advance(self.n_steps_done, self.length.n_batches)
            images = images.to(device=self.device, memory_format=self._memory_format)
            with torch.autocast(self.device.type, self._dtype, enabled=self._is_mixed):
                self.outputs = self.model(images)
            self.value = self.loss(self.outputs.float(), images, targets.to(self.device))
            self.optimizer.zero_grad()
            self._descend(self.value, masks)
            masks.mask_weights()
            self.schedule.after_step()
            if self.average is not None:
                self.average.update()
        self.n_steps_done += 1

    def _descend(self, value: Tensor, masks: HeldMasks) -> None:
        """Move the weights along the gradient of a loss."""
        scaler = self.scaler
        (value if scaler is None else scaler.scale(value)).backward()  # type: ignore[no-untyped-call]
        if self._masks_gradients:
            masks.mask_gradients()
        if scaler is not None and (self.options.clip is not None or self.pressure is not None):
            scaler.unscale_(self.optimizer)
        if self.pressure is not None:
            self.pressure.add_gradients(self.n_steps_done)
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_(
                [p for group in self.optimizer.param_groups for p in group["params"]], self.options.clip
            )
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()

    def finish(self) -> None:
        """Give the network the weights that are kept of it."""
        if self.average is not None:
            self.average.give()
        if self.stopping.tensors:
            copy_into(self.tensors, self.stopping.tensors, what="best epoch")

    def settle(self) -> None:
        """Tell constraints that follow the training that it is over."""
        self._advance(self.length.n_batches, self.length.n_batches)

    def judge(self, score: float) -> None:
        """Note what the network is worth on validation at an epoch's end, higher is better."""
        if self.is_settled:
            average = self.average
            tensors = self.tensors if average is None or not average.n_averaged else tensors_of(average.network)
            self.stopping.note(self.n_epochs_done, score, tensors)
        else:  # a mask that closes: what comes is held to more
            self.stopping.restart()

    @property
    def is_settled(self) -> bool:
        """Whether no constraint moves any more."""
        return all(constraint.settled for constraint in self._constraints.values())

    @property
    def _parts(self) -> dict[str, Any]:
        """What has a state of its own; None where the training has no such part."""
        own = {"average": self.average, "scaler": self.scaler, "stopping": self.stopping}
        return {**own, "pressure": self.pressure}

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how the training goes on: tensors (shared, not copied), numbers, words and lists.

        The random numbers are those of the data's order and augmentation, and the global ones that layers draw from.
        """
        return {
            "version": STATE_VERSION,
            "n_epochs_done": self.n_epochs_done,
            "n_steps_done": self.n_steps_done,
            "peak_bytes": self.memory.peak_bytes,
            "model": self.tensors,
            "attributes": attributes_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.schedule.scheduler.state_dict(),
            **{name: None if part is None else part.state_dict() for name, part in self._parts.items()},
            "generator": self.generator.get_state(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "mps_random": torch.mps.get_rng_state() if self.device.type == "mps" else None,
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from what `state_dict` gave, for the same network, options, data and device.

        ValueError where it is of another form or network: nothing of it is left out in silence.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"the training that was kept is of version {state.get('version')}, not {STATE_VERSION}")
        copy_into(self.tensors, state["model"], what="training")
        set_attributes(self.model, state["attributes"])
        # The schedule was made before: making one sets the optimiser's rate.
        self.optimizer.load_state_dict(state["optimizer"])
        as_parameters(self.optimizer)
        self.schedule.scheduler.load_state_dict(state["scheduler"])
        for name, part in self._parts.items():
            if (part is None) != (state[name] is None):
                raise ValueError(f"the training that was kept has {'no' if part else 'an'} {name}")
            if part is not None:
                part.load_state_dict(state[name])
        self.n_epochs_done, self.n_steps_done = state["n_epochs_done"], state["n_steps_done"]
        self.memory.peak_bytes = state["peak_bytes"]
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_random"], self.device)
        elif self.device.type == "mps":
            torch.mps.set_rng_state(state["mps_random"])
