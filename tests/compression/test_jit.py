import numpy as np

from effbench.compression.jit import compiled


@compiled
def total(values):
    """Add up."""
    result = 0.0
    for i in range(len(values)):
        result += values[i]
    return result


def test_a_compiled_function_is_its_python_and_is_compiled_for_the_types_it_meets():
    values = np.arange(5, dtype=np.float32)
    assert total(values) == total.py_func(values) == 10.0
    assert total(np.arange(3)) == 3.0
    assert len(total.signatures) == 2
    assert total.__doc__ == "Add up."


def test_its_machine_code_is_kept_and_it_lets_other_threads_run():
    assert total.stats.cache_path
    assert total.targetoptions["nogil"]
