"""Files of configuration as Hydra reads them; what is wrong with one is told with its name and its line."""

import os

import pytest

from effbench.config.yaml_files import package_of, read_yaml

WRONG = {
    "a: [1,\nb: 2\n": "there.yaml, line 3: is no YAML: expected ',' or ']'",
    "a:\n\tb: 1\n": "there.yaml, line 2: is no YAML: found character",
    "a: 1\na: 2\n": "there.yaml, line 2: is no YAML: found duplicate key a",
    "a: !!python/object:os.system x\n": "there.yaml, line 1: is no YAML: could not determine a constructor",
    "a: 1\n---\nb: 1\n": "there.yaml, line 2: is no YAML",
    "a: ${b\n": "there.yaml: is no configuration",
    "- a\n- b\n": "there.yaml: must hold keys and values",
    "3\n": "there.yaml: can't be read",
    b"\xff\xfe": "there.yaml: can't be read: it is no text in UTF-8",
    b"\x00": "there.yaml: is no YAML",
}


@pytest.mark.parametrize("content", WRONG)
def test_what_is_wrong_with_a_file_is_told_in_a_line(content, tmp_path):
    path = tmp_path / "there.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as caught:
        read_yaml(path, "there.yaml")
    assert str(caught.value).startswith(WRONG[content])
    assert len(str(caught.value).splitlines()) == 1


def test_what_can_not_be_opened_too(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.yaml"):
        with pytest.raises(ValueError, match=r"x\.yaml: can't be read"):
            read_yaml(path, "x.yaml")


def test_numbers_are_read_as_hydra_reads_them_and_nothing_resolves(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("lr: 1e-3\nsame: ${lr}\nmissing: ???\n")
    assert read_yaml(path, "a.yaml") == {"lr": 0.001, "same": "${lr}", "missing": "???"}


def test_a_file_that_was_written_is_read_again_whatever_its_date(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    assert read_yaml(path, "a.yaml") == {"a": 1}
    date = path.stat().st_mtime_ns
    path.write_text("a: 2\n")
    os.utime(path, ns=(date, date))
    assert read_yaml(path, "a.yaml") == {"a": 2}
    path.write_text("")
    assert read_yaml(path, "a.yaml") == {}


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("# @package _global_\na: 1\n", "_global_"),
        ("# mine\n\n#@package train.x\na: 1\n", "train.x"),
        ("a: 1\n# @package late\n", None),
        ("# package train\n", None),
        ("", None),
    ],
)
def test_where_the_keys_of_a_file_stand_is_what_its_first_lines_say(tmp_path, text, package):
    (tmp_path / "a.yaml").write_text(text)
    assert package_of(tmp_path / "a.yaml") == package
