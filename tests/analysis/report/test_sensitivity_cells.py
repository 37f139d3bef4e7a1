"""Layers on the page: a row for each, the width that it was given framed."""

import pandas as pd

from effbench.analysis.report.sensitivity_cells import sensitivity_cells


def table():
    return pd.DataFrame(
        [
            {"layer": layer, "weights": 1000 * n, "bits": bits, "loss_increase": loss, "chosen": bits == 4}
            for n, layer in enumerate(("conv1", "conv2"), start=1)
            for bits, loss in ((8, -0.0), (4, 0.01 * n), (2, 0.4))
        ]
    )


def test_layers_are_rows_and_widths_columns():
    (cells,) = sensitivity_cells({"reference": {}, "bits_budget=4": {"sensitivity": table()}})
    assert (cells.across, cells.down) == (["8", "4", "2"], ["conv1 (1 K)", "conv2 (2 K)"])
    assert [content.text for content in cells.contents[1]] == ["0", "0.02", "0.4"]
    assert [content.is_framed for content in cells.contents[0]] == [False, True, False]
    assert cells.contents[0][0].share == 0.0 and cells.contents[0][2].share == 1.0
    assert cells.title.endswith("(bits_budget=4)") and cells.has_texts


def test_activations_have_a_picture_of_their_own_beside_that_of_weights():
    activations = table().rename(columns={"weights": "activations"})
    tables = {"bits_budget=4, act_bits_budget=4": {"act_sensitivity": activations, "sensitivity": table()}}
    of_weights, of_activations = sensitivity_cells(tables)
    assert "its weights alone" in of_weights.described and "its activations alone" in of_activations.described
    assert of_activations.y_title == "layer (activations that go into it)" and of_activations.down[1] == "conv2 (2 K)"


def test_what_is_no_such_table_is_not_drawn():
    assert sensitivity_cells({"a": {"sensitivity": table().drop(columns="chosen")}}) == []
    assert sensitivity_cells({"a": {"curves": table()}}) == []
    assert len(sensitivity_cells({"a": {"sensitivity": table()[:2]}, "b": {"sensitivity": table()}})) == 1


def test_losses_that_nothing_raises_have_no_colour():
    (cells,) = sensitivity_cells({"a": {"sensitivity": table().assign(loss_increase=0.0)}})
    assert {content.share for row in cells.contents for content in row} == {0.0}
