import csv
from dataclasses import replace

import pytest

from harness.errors import UnknownName
from reports import numerals
from reports.published import FOLDER, published, published_tables


def test_printed_digits_are_kept():
    (value,) = [
        value
        for value in published("sotl_thesis", "4.6")
        if (value.method, value.dataset) == ("Random Search", "CIFAR-10")
    ]

    assert value.text == "93.90"
    assert value.mean == 93.9
    assert value.digits == 2
    assert value.printed == "93.90 ± 0.26"
    assert value.n is None


def test_every_line_of_every_file_is_read_as_printed():
    printed = sorted(
        (row["mean"], row["std"])
        for file in FOLDER.glob("*.csv")
        for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines())
    )
    read = sorted(
        (value.text, value.std_text) for key in published_tables() for value in published(*key)
    )

    assert read == printed
    assert len(published_tables()) == 28


def test_a_word_in_a_table_is_no_number():
    words = [value for value in published("sotl_thesis", "B.1") if value.text == "Cosine"]

    assert words
    assert all(value.mean is None for value in words)


@pytest.mark.parametrize(
    ("text", "digits"),
    [("93.90", 2), ("45.7", 1), ("15625", 0), ("1e18", 0), ("83.2015", 4), ("-0.05", 2)],
)
def test_decimals(text, digits):
    assert numerals.decimals(text) == digits


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(93.896, 2, "93.90"), (-0.001, 2, "0.00"), (1e18, 0, "1e18"), (0.5, 3, "0.500")],
)
def test_shown(value, digits, text):
    assert numerals.shown(value, digits) == text


def test_unknown_table_names_the_nearest():
    with pytest.raises(UnknownName, match="balenas:1"):
        published("balenas", "11")


def test_values_are_frozen():
    value = published("balenas", "1")[0]

    with pytest.raises(AttributeError):
        value.mean = 0.0
    assert replace(value, mean=0.0).mean == 0.0
