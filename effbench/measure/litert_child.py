"""What LiteRT's own interpreter runs for effbench: it converts networks, holds them, and runs and times them.

A script: it imports nothing of effbench, and of others only numpy, LiteRT, and to convert, torch and litert_torch. It
reads a request from each line of its standard input and answers it in a line of its standard output, in JSON; tensors
are in files (.npy). An answer to a request that failed has an `error`. It ends with its input.

convert   program (torch.export's, .pt2), file (to write)
load      file, threads, example (.npy) -> model, a number
time      model -> seconds, of one inference on its example
outputs   model, inputs (.npy), outputs (to write)
drop      models
quit
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray


class Model:
    """A network as LiteRT holds it, and the input that it is timed on."""

    def __init__(self, file: str, threads: int, example: str) -> None:
        interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter
        self._content = Path(file).read_bytes()  # the file may be gone before the model is
        self._interpreter = interpreter(model_content=self._content, num_threads=threads)
        self._interpreter.allocate_tensors()
        (self._input,) = (one["index"] for one in self._interpreter.get_input_details())
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._example = np.load(example)
        self.run(self._example)  # its threads begin, and whatever is made only once

    def run(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what the network gives for an input."""
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        outputs: NDArray[Any] = self._interpreter.get_tensor(self._output)
        return outputs

    def seconds(self) -> float:
        """Return how long an inference on the example takes."""
        self._interpreter.set_tensor(self._input, self._example)
        start = time.perf_counter()
        self._interpreter.invoke()
        return time.perf_counter() - start


class Models:
    """The networks that are held, by numbers, and what is done with them."""

    def __init__(self) -> None:
        self._models: dict[int, Model] = {}
        self._n_loaded = 0

    def convert(self, program: str, file: str) -> dict[str, object]:
        """Write the file of a network."""
        torch, litert_torch = (importlib.import_module(name) for name in ("torch", "litert_torch"))
        exported = torch.export.load(program)
        (args, kwargs) = exported.example_inputs
        litert_torch.convert(exported.module(), args, sample_kwargs=kwargs or None).export(file)
        return {}

    def load(self, file: str, threads: int, example: str) -> dict[str, object]:
        """Hold the network of a file."""
        self._n_loaded += 1
        self._models[self._n_loaded] = Model(file, threads, example)
        return {"model": self._n_loaded}

    def time(self, model: int) -> dict[str, object]:
        """Run a network once on its example."""
        return {"seconds": self._models[model].seconds()}

    def outputs(self, model: int, inputs: str, outputs: str) -> dict[str, object]:
        """Write what a network gives for an input."""
        np.save(outputs, self._models[model].run(np.load(inputs)))
        return {}

    def drop(self, models: list[int]) -> dict[str, object]:
        """Hold some networks no longer."""
        for model in models:
            self._models.pop(model, None)
        gc.collect()
        return {}


def answer(models: Models, request: dict[str, Any], /) -> dict[str, object]:
    """Return the answer to a request; what it raises is one, too."""
    commands: dict[str, Callable[..., dict[str, object]]] = {
        "convert": models.convert,
        "load": models.load,
        "time": models.time,
        "outputs": models.outputs,
        "drop": models.drop,
    }
    try:
        return commands[request.pop("command")](**request)
    except Exception as error:  # whatever LiteRT raises: the next request may be of another network
        return {"error": f"{type(error).__name__}: {error}"}


def serve(requests: TextIO, answers: TextIO, /) -> None:
    """Answer requests until there are no more, or one says quit."""
    models = Models()
    gc.disable()  # it would run while a network is timed
    for line in requests:
        request = json.loads(line)
        if request["command"] == "quit":
            return
        answers.write(json.dumps(answer(models, request)) + "\n")
        answers.flush()


def main() -> None:
    """Serve on the standard streams; what libraries print goes nowhere."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it is interrupted, too, and ends it
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
