"""Where experiments are found."""

from effbench.config.experiment_files import experiment_files
from effbench.config.search_path import Folder, SearchPath, searching


def test_the_first_folders_file_counts_and_folders_within_are_part_of_the_name(own_folder):
    one = own_folder({"experiment/a.yaml": "", "experiment/deep/b.yaml": "", "experiment/.c.yaml": ""}, name="one")
    two = own_folder({"experiment/a.yaml": "", "experiment/d.yaml": "", "study/e.yaml": ""}, name="two")
    assert experiment_files("experiment") == {}
    with searching(SearchPath(folders=(Folder(one, "one"), Folder(two, "two")))):
        found = experiment_files("experiment")
        assert {name: shown for name, (_, shown) in found.items()} == {
            "a": "one/experiment/a.yaml",
            "deep/b": "one/experiment/deep/b.yaml",
            "d": "two/experiment/d.yaml",
        }
        assert list(experiment_files("study")) == ["e"]
