"""Sizes as people write them."""

import pytest

from effbench.checks.sizes import n_bytes, shown_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("20GB", 20 * 10**9),
        ("500MB", 5 * 10**8),
        ("1.5GiB", 3 * 2**29),
        ("1 KiB", 1024),
        (" 2tb ", 2 * 10**12),
        (".5kb", 500),
        ("1.KB", 1000),
        ("7B", 7),
        ("4096", 4096),
        (4096, 4096),
        (1e9, 10**9),
        ("0.0015KB", 1),
        ("1.1GB", 1_100_000_000),  # exact: a float would be 1.1000000000000001e9 on some machines
        (2**70, 2**70),
    ],
)
def test_units_are_powers_of_1000_and_with_an_i_of_1024(size, expected):
    assert n_bytes(size) == expected
    assert type(n_bytes(size)) is int


@pytest.mark.parametrize(
    "size",
    [
        *("", "GB", "2G", "2 GiBi", "2iB", "1e9", "1,5GB", "-1GB", "1GB 2", "inf", "nan", "0", "0GB", "0.4B", "null"),
        *("\u0662GB", "2\nGB2", 0, -1, 0.5, float("inf"), float("nan"), True, False),
    ],
)
def test_what_is_no_size_is_named(size):
    with pytest.raises(ValueError) as refusal:
        n_bytes(size)
    assert str(refusal.value).startswith(f"{size}: must be a size above 0, such as 20GB, 1.5GiB")


@pytest.mark.parametrize("number", [1, 999, 1000, 999_499, 999_500, 12_345_678, 987_654_321_000])
def test_what_is_shown_can_be_read_back(number):
    assert n_bytes(shown_size(number)) == pytest.approx(number, rel=0.01)
