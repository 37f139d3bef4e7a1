"""hydra/job_logging, hydra/hydra_logging and hydra.verbose: how the command and its runs log."""

from __future__ import annotations

import os
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effbench.checks.errors import first_line, kind_and_line
from effbench.config.hydra_keys import HydraSettings
from effbench.run.job_logging import log_as


def configure_logging(settings: HydraSettings, /) -> None:
    """Log as a command asks: its own process, and those of its runs. Nothing happens where it says nothing of it.

    Hydra's output folder, which runs don't have here, is the working folder: a handler of files writes there.
    ValueError, in one line, for a configuration that logging does not take.
    """
    verbose = settings.node.get("verbose", False)
    names = [""] if verbose is True else [verbose] if isinstance(verbose, str) else list(verbose or [])
    if not settings.loggings and not names:
        return
    config = None
    for name in settings.loggings:
        config = _resolved(settings, name)
    try:
        log_as(config, [str(name) for name in names])
    except (Exception, SystemExit) as error:  # whatever a class that is named there raises
        cause = error.__cause__ or error
        raise ValueError(f"hydra/{settings.loggings[-1]}: {kind_and_line(cause)}") from None


def _resolved(settings: HydraSettings, name: str) -> dict[str, Any] | None:
    whole = OmegaConf.create({"hydra": dict(settings.node)})
    before = HydraConfig.instance().cfg
    try:
        whole.hydra.runtime.output_dir = os.getcwd()
        whole.hydra.job.name = "effbench"
        HydraConfig.instance().cfg = whole  # type: ignore[assignment]
        plain = OmegaConf.to_container(whole.hydra[name], resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key or f'hydra.{name}'}: {first_line(error)}") from None
    finally:
        HydraConfig.instance().cfg = before
    if not isinstance(plain, dict) or plain.get("root") is None:
        return None
    return {str(key): value for key, value in plain.items()}
