"""Whose runs are whose: the tags of a parent tell who is alive."""

from effbench.checks.owner import Owner, beat
from effbench.tracking.owner import living, tag_of


def test_owners_are_told_from_the_tags_of_a_parent():
    elsewhere, here = Owner("elsewhere", 7, "then"), Owner.here()
    gone = Owner(here.host, here.process, "another start")
    tags = {tag_of(owner): beat(owner, 1000.0) for owner in (elsewhere, here, gone)}
    assert len(tags) == 3 and all(tag.startswith("effbench.owner/") for tag in tags)
    tags |= {"effbench.owner/x": "nonsense", "other": beat(elsewhere, 1000.0)}
    assert living(tags, 1299.0) == {elsewhere, here}
    assert living(tags, 1301.0) == {here}
