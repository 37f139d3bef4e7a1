"""What a command is asked to print instead of running: --help, --version, --cfg, --info and their like.

What each needs is imported where it is asked for: other commands begin at once.
"""

from __future__ import annotations

from effbench.config.options import Options


def asked_text(options: Options, /) -> str | None:
    """Return what the options of a command ask to print; None where it is a sweep that is to run.

    ValueError, in one clear line, for what does not fit.
    """
    if "--version" in options:
        from importlib.metadata import version

        return f"effbench {version('effbench')}"
    if "--help" in options:
        from effbench.config.help import help_page

        return help_page(options.remembered)
    if "--shell-completion" in options:
        from effbench.config.completion import completion_text

        return completion_text(options.overrides)
    if "--hydra-help" in options:
        from effbench.config.info import hydra_help

        return hydra_help(options.remembered)
    if "--cfg" in options:
        from effbench.config.shown_config import config_text

        values = options.values
        return config_text(
            options.remembered, kind=values["--cfg"], package=values.get("--package"), resolve="--resolve" in values
        )
    if "--info" in options:
        from effbench.config.info import info_text

        return info_text(options.remembered, options.values["--info"])
    return None
