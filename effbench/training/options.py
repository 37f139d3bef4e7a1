"""How a network is trained: the options, and what one that names a class is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field

from effbench.checks.fields import check_fields
from effbench.training.layout import Layout
from effbench.training.precision import TrainingPrecision


@runtime_checkable
class Component(Protocol):
    """A class of torch's, torchvision's or a user's, with its options: what an optimiser, say, is made by."""

    @property
    def target(self) -> str:
        """Its dotted name."""

    @property
    def callable(self) -> Callable[..., Any]:
        """The class, or a function that gives an instance of one."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The keyword arguments that were given."""

    def takes(self, name: str, /) -> bool:
        """Whether it has an argument of that name."""

    def build(self, subject: tuple[str, Any] | None = None, /, *, within: bool = False, **offered: Any) -> Any:
        """Call it with its options, on `subject`, and with those `offered` that it needs and has no option for."""


def check_kind(option: str, component: Component, kind: type, name: str, /) -> None:
    """Refuse a class for an option that is not derived from `kind`, whose dotted name is given: ValueError."""
    if isinstance(component.callable, type) and not issubclass(component.callable, kind):
        raise ValueError(f"{option}._target_={component.target}: must be a class derived from {name}, or a function")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a network is trained.

    The options decide the weights, to the last bit, together with data, seed and threads.
    """

    epochs: Annotated[int, Field(ge=0)]
    """Passes over the training split; 0 trains nothing."""
    lr: Annotated[float, Field(gt=0)]
    """The learning rate that the optimiser is made with: the highest one, reached after the warm-up."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """As the optimiser has it: AdamW's is decoupled (Loshchilov & Hutter 2017, arXiv:1711.05101)."""
    precision: TrainingPrecision = "float32"
    """Of the forward and backward pass (autocast); weights and optimiser stay float32."""
    layout: Layout = "channels_last"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training split that is used: the same examples for every seed."""
    optimizer: Component | None = None
    """None: torch's AdamW, its fused form."""
    decay_norms: bool = False
    """Whether biases, norms and other tensors of one dimension decay as well as those of two or more."""
    scheduler: Component | None = None
    """None: a warm-up, then a cosine down to zero, step by step."""
    schedule_by: Literal["step", "epoch"] | None = None
    """After what the scheduler takes a step; None: as its class is meant (see `schedules.unit_of`)."""
    warm_up_epochs: Annotated[float, Field(ge=0, description="epochs")] | None = None
    """How long the rate rises in a line to `lr`; None: a tenth of the steps where `scheduler` is None, else not."""
    loss: Component | None = None
    """A module of (outputs, targets); None: the task's own loss."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of the task's own loss (Szegedy et al. 2015, arXiv:1512.00567, section 7)."""
    augmentation: Component | None = None
    """A transform of single training images, in the place of what the data set does itself; None: that."""
    mixup: Annotated[float, Field(gt=0)] | None = None
    """The α of Zhang et al. 2017 (arXiv:1710.09412): pairs of images, and their labels, are blended."""
    cutmix: Annotated[float, Field(gt=0)] | None = None
    """The α of Yun et al. 2019 (arXiv:1905.04899): a box of another image. With mixup: one of the two, by batch."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """The largest norm of all gradients together; None: as they come."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The decay, for each step, of an exponential moving average of weights and norm statistics, which the network
    has in the end; None: the weights of the last step."""
    stop_after: Annotated[int, Field(ge=1)] | None = None
    """Epochs in a row without a better quality on validation after which training ends; None: all epochs are run."""
    keep: Literal["last", "best"] = "last"
    """The network of the last epoch, or of the one that was best on validation."""
    freeze: str | Sequence[str] | None = None
    """What is not trained: `backbone`, all but the classifier, or patterns of the names of modules and parameters."""

    def __post_init__(self) -> None:
        """Refuse what can't be trained with."""
        check_fields(self)
        if self.schedule_by is not None and self.scheduler is None:
            raise ValueError(f"schedule_by={self.schedule_by}: must be null without a scheduler of your own")
        if self.warm_up_epochs is not None and 0 < self.epochs < self.warm_up_epochs:
            raise ValueError(f"warm_up_epochs={self.warm_up_epochs:g}: must be at most the epochs, {self.epochs}")
        if self.loss is not None and self.label_smoothing:
            raise ValueError(
                f"label_smoothing={self.label_smoothing:g}: must be 0 with a loss of your own, which may take it itself"
            )

    @property
    def watches_validation(self) -> bool:
        """Whether each epoch is evaluated on validation."""
        return self.stop_after is not None or self.keep == "best"
