"""Settings as they were are refused with lines that say the same today."""

import tomllib
from typing import Any

import pytest

from emosphere.config import from_mapping
from emosphere.errors import UsageError
from emosphere.training import FitConfig
from emosphere.training.balance import UncertaintyConfig
from emosphere.training.terms import Concordance, CrossEntropy, Term

FALLING = CrossEntropy(schedule="falling", span=0.25)


@pytest.mark.parametrize(
    ("loss", "terms"),
    [
        ({}, {"vad": Concordance(), "region": FALLING}),
        (
            {"region_schedule": "falling", "lambda_span": 0.5, "auxiliary": {"category": 0.5}},
            {
                "vad": Concordance(),
                "region": CrossEntropy(schedule="falling", span=0.5),
                "category": CrossEntropy(weight=0.5),
            },
        ),
        (
            {"lambda_epochs": 5.0, "afterwards": "freeze", "class_weighted": False, "reduction": "mean"},
            {
                "vad": Concordance(reduction="mean"),
                "region": CrossEntropy(
                    schedule="falling", span_epochs=5.0, afterwards="freeze", class_weighted=False
                ),
            },
        ),
        ({"region_schedule": "linear", "joint_head": "category"},
         {"vad": Concordance(), "category": CrossEntropy(schedule="linear")}),
        ({"region_schedule": "off"}, {"vad": Concordance(), "region": CrossEntropy(weight=0.0)}),
        ({"region_schedule": "constant"}, {"vad": Concordance(), "region": CrossEntropy()}),
        ({"region_schedule": "uncertainty"}, {"vad": Concordance(), "region": CrossEntropy()}),
    ],
)  # fmt: skip
def test_the_old_table_of_the_loss_is_refused_with_the_new_ones(loss: dict[str, Any], terms: dict[str, Term]) -> None:
    with pytest.raises(UsageError, match="'loss' is a setting of an earlier version") as refused:
        from_mapping(FitConfig, {"loss": loss}, source="train.toml")
    lines = str(refused.value).split("\n", 1)[1]
    config = from_mapping(FitConfig, tomllib.loads(lines)["fit"], source="the message")
    assert config.terms == terms
    assert isinstance(config.balance, UncertaintyConfig) == (loss.get("region_schedule") == "uncertainty")


@pytest.mark.parametrize(("before", "today"), [("micro-batch", "piece"), ("batch", "batch"), ("global", "update")])
def test_the_old_word_for_the_scope_is_refused_with_the_new_one(before: str, today: str) -> None:
    with pytest.raises(UsageError, match=f'scope = "{today}" in each'):
        from_mapping(FitConfig, {"concordance": before}, source="train.toml")


def test_a_fit_without_terms_is_refused() -> None:
    for given in ({}, {"terms": {"vad": {"kind": "concordance", "weight": 0.0}}}):
        with pytest.raises(UsageError, match=r"holds none that weighs anything.*\[fit.terms.NAME\]") as refused:
            from_mapping(FitConfig, given, source="train.toml")
        lines = str(refused.value).split("\n", 1)[1]
        config = from_mapping(FitConfig, tomllib.loads(lines)["fit"], source="the message")
        assert config.terms == {"vad": Concordance(), "region": FALLING}
