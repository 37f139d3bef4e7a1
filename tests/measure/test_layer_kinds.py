import pytest
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from effbench.measure.layer_kinds import GROUPS, form_of, group_of, kind_of

NONE, CONVOLVES, MULTIPLIES = None, "convolution", "addmm"


class Table(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.register_parameter(name, nn.Parameter(nn.Linear(2, 2).weight))


class FrozenNorm(nn.Module):
    """A norm that is not torch's."""


@pytest.mark.parametrize(
    ("module", "operation", "group", "form"),
    [
        (nn.Conv2d(3, 8, 3), CONVOLVES, "convolution", "3×3"),
        (nn.Conv2d(3, 8, (3, 1), stride=(2, 1)), CONVOLVES, "convolution", "3×1, stride 2×1"),
        (nn.Conv2d(8, 8, 3, groups=8, stride=2), CONVOLVES, "convolution", "3×3 depthwise, stride 2"),
        (nn.Conv2d(8, 16, 3, groups=8), CONVOLVES, "convolution", "3×3 depthwise"),
        (nn.Conv2d(6, 9, 1, groups=3), CONVOLVES, "convolution", "1×1 in 3 groups"),
        (nn.Conv1d(4, 8, 5), CONVOLVES, "convolution", "5"),
        (nn.Conv3d(4, 8, 3), CONVOLVES, "convolution", "3×3×3"),
        (nn.ConvTranspose2d(4, 8, 2, stride=2), CONVOLVES, "convolution", "2×2 transposed, stride 2"),
        (nn.Conv2d(1, 1, 1), CONVOLVES, "convolution", "1×1"),
        (weight_norm(nn.Conv2d(3, 8, 3)), CONVOLVES, "convolution", "3×3"),
        (Table("kernel"), CONVOLVES, "convolution", "Table"),
        (nn.Linear(3, 2), MULTIPLIES, "fully connected", "linear"),
        (nn.Linear(3, 2), NONE, "fully connected", "linear"),
        (nn.Bilinear(3, 2, 2), MULTIPLIES, "fully connected", "Bilinear"),
        (Table("weight"), MULTIPLIES, "fully connected", "Table"),
        (nn.LSTM(3, 2), MULTIPLIES, "recurrent", "LSTM"),
        (nn.GRUCell(3, 2), NONE, "recurrent", "GRUCell"),
        (nn.BatchNorm2d(3), NONE, "norm", "BatchNorm2d"),
        (nn.GroupNorm(1, 3), NONE, "norm", "GroupNorm"),
        (nn.RMSNorm(3), NONE, "norm", "RMSNorm"),
        (FrozenNorm(), NONE, "norm", "FrozenNorm"),
        (nn.Embedding(3, 2), NONE, "embedding", "Embedding"),
        (Table("pos_embedding"), NONE, "embedding", "Table"),
        (Table("class_token"), NONE, "embedding", "Table"),
        (Table("layer_scale"), NONE, "other", "Table"),
        (nn.PReLU(), NONE, "other", "PReLU"),
        (nn.MaxPool2d(2), NONE, "other", "MaxPool2d"),
    ],
)
def test_groups_and_forms(module, operation, group, form):
    assert group_of(module, operation, attends=False) == group and group in GROUPS
    assert form_of(module, group, operation) == form


def test_what_projects_for_attention():
    assert group_of(nn.Linear(2, 2), MULTIPLIES, attends=True) == "attention"
    assert form_of(nn.Linear(2, 2), "attention", MULTIPLIES) == "projection"
    assert group_of(Table("relative_position_bias_table"), NONE, attends=True) == "attention"
    assert form_of(Table("relative_position_bias_table"), "attention", NONE) == "Table"
    assert group_of(nn.Conv2d(2, 2, 1), CONVOLVES, attends=True) == "convolution"


def test_a_class_is_called_as_before_its_constraints():
    assert kind_of(weight_norm(nn.Linear(2, 2))) == "Linear"
