"""Files of configuration, read as Hydra reads them: what is wrong with one is told with its name and its line."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from effbench.checks.errors import first_line
from effbench.checks.stamps import stamp_of


def read_yaml(path: Path, name: str, /) -> dict[str, Any]:
    """Return a file's keys and values; nothing in them resolves. Read once, as long as it is not written.

    name: what messages call it. ValueError where it can't be read, is no YAML, or holds no keys.
    """
    try:
        read = _read(str(path), *stamp_of(path))
    except OSError as error:
        raise ValueError(f"{name}: can't be read ({error.strerror or first_line(error)})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name}: can't be read: it is no text in UTF-8") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ValueError(f"{name}{line}: is no YAML: {getattr(error, 'problem', None) or first_line(error)}") from None
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: is no configuration: {first_line(error)}") from None
    if not isinstance(read, dict):
        raise ValueError(f"{name}: must hold keys and values, as in _target_: my_package.my_function")
    return {str(key): value for key, value in read.items()}


def package_of(path: Path, /) -> str | None:
    r"""Return where a file's first lines say that its keys stand, as `# @package train` does; None where none does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.yaml").write_text("# mine\n# @package _global_\nprune: 0.5\n")
    ...     package_of(Path(folder, "a.yaml"))
    '_global_'
    """
    with open(path, encoding="utf-8") as file:
        for line in file:
            header = _HEADER.match(line.strip())
            if header is not None:
                return header[1]
            if line.strip() and not line.strip().startswith("#"):
                break
    return None


_HEADER = re.compile(r"#\s*@package\s+(\S+)\s*$")


@lru_cache(maxsize=1024)
def _read(path: str, *_stamp: int) -> Any:
    with open(path, encoding="utf-8") as file:
        return OmegaConf.to_container(OmegaConf.load(file), resolve=False)
