"""ImageNet's classes."""

import re

from effbench.models.imagenet import wordnet_ids


def test_they_are_a_thousand_sorted_ids():
    ids = wordnet_ids()
    assert len(set(ids)) == 1000
    assert list(ids) == sorted(ids)
    assert all(re.fullmatch(r"n\d{8}", one) for one in ids)
    # Tench, tabby, golden retriever, toilet paper: classes whose numbers are well known.
    assert [ids.index(one) for one in ("n01440764", "n02123045", "n02099601", "n15075141")] == [0, 281, 207, 999]
