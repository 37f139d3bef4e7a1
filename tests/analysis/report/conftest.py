"""Grids of two axes, as a sweep gives them."""

import pandas as pd
import pytest


@pytest.fixture
def grid_runs():
    """Return what makes the runs of a grid: grid_runs(prunes, widths, n_seeds=1, missing=())."""

    def make(prunes=(0.0, 0.5, 0.9), widths=(32, 8, 4), n_seeds=1, missing=()):
        rows = []
        for prune in prunes:
            for bits in widths:
                parts = [f"prune={prune}"] * (prune > 0) + [f"bits={bits}"] * (bits < 32)
                if (prune, bits) in missing:
                    continue
                loss = 0.1 * prune**4 + (0.03 if bits < 8 else 0.0)
                for seed in range(n_seeds):
                    rows.append(
                        {
                            **{"point": ", ".join(parts) or "reference", "reference": not parts, "seed": seed},
                            **{"prune": prune, "bits": bits, "run_key": f"{prune}-{bits}-{seed}"},
                            "reference_key": f"{prunes[0]}-{widths[0]}-{seed}",
                            "size_bytes": 40_000 * (1 - 0.9 * prune) * bits / 32,
                            "macs_effective": 1e6 * (1 - prune),
                            "accuracy_val": 0.95 - loss + 0.001 * seed,
                            "accuracy": 0.94 - loss,
                        }
                    )
        return pd.DataFrame(rows)

    return make
