"""Numbers of bytes, as people write them."""

import pytest

from effbench.checks.byte_sizes import parse_bytes, shown_bytes


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("20GB", 20 * 10**9),
        ("20 gb", 20 * 10**9),
        ("20G", 20 * 10**9),
        ("500MB", 500 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("2KiB", 2048),
        ("1TB", 10**12),
        ("7B", 7),
        ("4096", 4096),
        (4096, 4096),
    ],
)
def test_what_people_write(text, n_bytes):
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", 0, 0.5, "20XB", "20GBB", "1e9", "a lot", True, "٣GB\0"])
def test_what_is_no_number_of_bytes_is_named(text):
    with pytest.raises(ValueError, match="must be a number of bytes above 0, as in 20GB"):
        parse_bytes(text)


@pytest.mark.parametrize("n_bytes", [1, 999, 1000, 999_499, 999_500, 12_345_678, 987_654_321_000])
def test_what_is_shown_can_be_read_back(n_bytes):
    assert parse_bytes(shown_bytes(n_bytes)) == pytest.approx(n_bytes, rel=0.01)
