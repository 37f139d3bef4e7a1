"""The parent of a tracked sweep, read back, and a file added to it."""

import pytest

from effbench.tracking.parents import add_file, read_sweep_parent
from effbench.tracking.read import load_file
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def uri(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = MlflowTracker(uri, "ours")
    tracker.open_sweep("ab12", name="a sweep", params={}, tags={"effbench.tolerance": "0.1"})
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    return uri


def test_a_parent_says_what_was_asked_and_takes_files(uri):
    parent = read_sweep_parent("ab12", experiment="ours", tracking_uri=uri)
    assert parent.sweep_id == "ab12" and parent.tags["effbench.tolerance"] == "0.1"
    for content in (b"first", b"second"):
        add_file(parent.run_id, "report.html", content, tracking_uri=uri)
        assert load_file(parent.run_id, "report.html", tracking_uri=uri) == content


@pytest.mark.parametrize("sweep, experiment", [("cd34", "ours"), ("ab12", "theirs")])
def test_a_parent_that_is_not_there_is_told(uri, sweep, experiment):
    with pytest.raises(ValueError, match=f"sweep={sweep}: its parent run is gone from experiment {experiment}"):
        read_sweep_parent(sweep, experiment=experiment, tracking_uri=uri)
