"""Networks with the knobs that the axes turn; one file per family.

A network reads an axis if and only if its factory has a parameter of that name (`alpha`, `pooling`). All take
`num_classes` and `in_channels`, and `input_side` where the input's size decides a shape inside. The `VERSION` of a file
is part of the keys of its networks.
"""

from effbench.models.hf_networks import hf_model
from effbench.models.lenet import lenet_5, lenet_300_100
from effbench.models.mobilenet import mobilenet_v1
from effbench.models.shufflenet import shufflenet_v1
from effbench.models.small import small_cnn
from effbench.models.small_segmenter import small_segmenter
from effbench.models.small_vit import small_vit
from effbench.models.timm_networks import timm_model
from effbench.models.torchvision_networks import torchvision_model

__all__ = [
    "hf_model",
    "lenet_5",
    "lenet_300_100",
    "mobilenet_v1",
    "shufflenet_v1",
    "small_cnn",
    "small_segmenter",
    "small_vit",
    "timm_model",
    "torchvision_model",
]
