"""The answer in a notebook: the figure's format that browsers show, the table with nothing in it that is markup."""

import base64

import pandas as pd
import pytest

from effbench.sweep.as_html import image_html, table_html


@pytest.mark.parametrize(
    ("formats", "there", "shown"),
    [
        (["png"], ["png"], "image/png"),
        (["svg", "pdf"], ["svg", "pdf"], "image/svg+xml"),
        (["pdf", "svg"], ["svg", "pdf"], "image/svg+xml"),
        (["svg", "png"], ["png"], "image/png"),
        (["pdf"], ["pdf", "png"], None),
        (["png"], [], None),
    ],
)
def test_the_first_format_that_a_browser_shows(tmp_path, formats, there, shown):
    for form in there:
        (tmp_path / f"saturation.{form}").write_bytes(form.encode())
    image = image_html(str(tmp_path / f"saturation.{formats[0]}"), formats)
    if shown is None:
        assert image == ""
    else:
        content = shown.partition("/")[2][:3].encode()
        assert f'src="data:{shown};base64,{base64.b64encode(content).decode()}"' in image and 'alt="' in image
    assert image_html(None, formats) == ""


def test_a_table_has_no_markup_of_others():
    table = pd.DataFrame({"conv": ["<b>", "plain"], "accuracy": [0.9, 0.8]})
    kind = {"name": "accuracy", "kind": "ratio", "unit": "points", "direction": "higher", "chance": 0.1}
    table.attrs = {"quality": kind, "extras": []}
    page = table_html(table)
    assert "<b>" not in page and "&lt;b&gt;" in page and page.count("<tr") == 3
