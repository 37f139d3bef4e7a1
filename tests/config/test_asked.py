"""Options that print instead of running, and which goes first."""

from importlib.metadata import version

import pytest

from effbench.config.asked import asked_text
from effbench.config.options import read_options

BEGINS = {
    "+prune=0.1": None,
    "-m +prune=0.1": None,
    "--run": None,
    "--version": f"effbench {version('effbench')}",
    "--help --cfg job": "python -m effbench.sweep [axis=values",
    "prune=0.5 -h": "python -m effbench.sweep [axis=values",
    "--hydra-help": "Hydra (1.3",
    "-c job prune=0.5": "prune: 0.5\n",
    "--cfg hydra": "hydra:\n",
    "-i searchpath": "Config search path",
    "-sc install=fish": "# Completion of effbench",
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("text", BEGINS)
def test_what_is_printed(text):
    printed = asked_text(read_options(text.split()))
    assert printed is None if BEGINS[text] is None else printed.startswith(BEGINS[text])
