"""What the README shows: its commands are understood, its table and sentences are those of the command above them."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effbench.config.read import read_sweep

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
LINES = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [
    shlex.split(command)[n_words:]
    for line in LINES
    for command in line.split(" && ")
    for n_words, begin in ((3, "python -m effbench.sweep "), (2, "effbench sweep "))
    if command.startswith(begin)
]
ELSEWHERE = ("data=cifar10", "model.weights=default", "hydra/launcher=", "timm:", "--cfg", "--info")
"""What a command holds that is loaded from elsewhere, needs an extra, or prints and plans nothing."""


@pytest.fixture
def things(folder, monkeypatch):
    """Put into the working folder what the README takes for a user's own."""
    for kind in ("cat", "dog"):
        (folder.path / "photos" / kind).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder.path / "photos" / kind / f"{number}.png")
    import torchvision

    for name in ("resnet18", "resnet50"):
        with torch.device("meta"):
            network = getattr(torchvision.models, name)(num_classes=2 if name == "resnet18" else 10)
        state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in network.state_dict().items()}
        torch.save(state, folder.path / f"{name}.pth")
    package = folder.path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import numpy as np\n\n\ndef my_data():\n    images = np.zeros((60, 8, 8), dtype=np.uint8)\n"
        "    labels = np.arange(60) % 2\n    return [(images[i : i + 20], labels[i : i + 20]) for i in (0, 20, 40)]\n"
    )
    (package / "nets.py").write_text(
        "from torch import nn\n\n\ndef small(num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, num_classes))\n"
    )
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE):
        path = folder.path / re.search(r"^# (conf_mine/\S+?\.yaml)", text, re.MULTILINE)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder.path / "conf_mine" / "model").mkdir()
    (folder.path / "conf_mine" / "model" / "my_net.yaml").write_text("_target_: my_package.nets.small\n")
    monkeypatch.chdir(folder.path)
    monkeypatch.syspath_prepend(folder.path)
    monkeypatch.setenv("USER", "somebody")
    return folder


@pytest.mark.waiting
def test_every_command_is_understood(things):
    planned = [command for command in COMMANDS if not any(word in " ".join(command) for word in ELSEWHERE)]
    assert len(planned) >= 20
    for command in planned:
        assert len(read_sweep(command).plan.points) >= 2, command


def test_the_command_at_the_top_says_what_stands_below_it(shared):
    def shape(line):
        return re.sub(r"\d+(\.\d+)?", "#", re.sub(r"\bprune=\S+", "prune=#", re.sub(r" +", " ", line.strip())))

    table = next(block for block in BLOCKS if "smaller" in block).splitlines()
    out = shared.finished.stdout.splitlines()
    assert [line.split() for line in out[:2]] == [line.split() for line in table[:2]]
    assert [line.split()[0] for line in out[2:6]] == [line.split()[0] for line in table[2:6]]
    assert [line.split(":")[0] for line in out[7:9]] == [line.split(":")[0] for line in table[7:9]]
    assert shape(out[7]).split(" keeps ")[0] == shape(table[7]).split(" keeps ")[0]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)", PAGE))))
def test_what_it_links_to_is_there(target):
    assert (ROOT / target).exists()


def test_a_link_within_the_page_and_into_another_leads_somewhere():
    for page, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", PAGE):
        titles = re.findall(r"^#+ (.*)$", (ROOT / (page or "README.md")).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_its_extras_are_those_that_there_are():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys() - {"dev"}
    assert {name for found in re.findall(r"effbench\[([\w,]+)\]", PAGE) for name in found.split(",")} <= extras
    assert all(f"`{name}`" in PAGE.partition("## Install")[2] for name in extras)
