"""The paper's division of the development part: equal per category, repeatable, and loud when it cannot be."""

from typing import Any

import pytest

from emosphere.corpora.in_house import split_in_house
from emosphere.corpora.msp_podcast import PRIMARY
from emosphere.errors import UsageError


def rows(per_category: int, *, categories: tuple[str | None, ...] = (*PRIMARY, "other", None)) -> list[dict[str, Any]]:
    return [
        {"uri": f"/audio/{word}-{index}.wav", "category": word, "split": split, "speaker": f"{split}{index % 3}"}
        for split in ("train", "dev")
        for word in categories
        for index in range(per_category)
    ]


def splits(divided: list[dict[str, Any]]) -> dict[str, str]:
    return {row["uri"]: row["split"] for row in divided if row["speaker"].startswith("dev")}


def test_each_category_gives_as_many_and_the_rest_is_the_test() -> None:
    divided, note = split_in_house(rows(7), 3)
    for word in PRIMARY:
        own = [row["split"] for row in divided if row["category"] == word and row["speaker"].startswith("dev")]
        assert sorted(own) == ["dev"] * 3 + ["in-house-test"] * 4
    others = {
        row["split"] for row in divided if row["category"] in ("other", None) and row["speaker"].startswith("dev")
    }
    assert others == {"in-house-rest"}
    assert sum(row["split"] == "train" for row in divided) == 70
    assert "3 of the 3 speakers of in-house-test are in dev too" in note


def test_the_draw_repeats_and_another_seed_draws_otherwise() -> None:
    assert splits(split_in_house(rows(9), 4, seed=1)[0]) == splits(split_in_house(rows(9)[::-1], 4, seed=1)[0])
    assert splits(split_in_house(rows(9), 4, seed=1)[0]) != splits(split_in_house(rows(9), 4, seed=2)[0])


def test_the_sets_are_the_same_whatever_else_was_dropped() -> None:
    """So that the rows of the paper's table 1 are measured on one set, X kept or not."""
    kept, dropped = (splits(split_in_house(given, 4)[0]) for given in (rows(9), rows(9, categories=PRIMARY)))
    assert dropped == {uri: split for uri, split in kept.items() if split != "in-house-rest"}


def test_a_category_with_too_few_is_refused_by_name() -> None:
    fewer = [row for row in rows(5) if row["category"] != "fear" or row["uri"] < "/audio/fear-2"]
    with pytest.raises(UsageError, match=r"--in-house-test 3: .* too few clips of fear 2\."):
        split_in_house(fewer, 3)
    with pytest.raises(UsageError, match="anger 0, sadness 0"):
        split_in_house([], 3)
