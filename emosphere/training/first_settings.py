"""What takes the place of settings of the loss as they were before 2026-11-28: the lines to write today."""

from collections.abc import Mapping
from typing import Any, Final

SCOPE_OF: Final = {"micro-batch": "piece", "batch": "batch", "global": "update"}
"""What ``fit.concordance`` said, by today's word."""


def concordance_of_today(concordance: Any) -> str:
    """In words and a line."""
    scope = SCOPE_OF.get(str(concordance), "update")
    return f'Which clips share one value is said of every term: scope = "{scope}" in each [fit.terms.NAME].'


def loss_of_today(loss: Any) -> str:
    """The tables that say the same as ``[fit.loss]`` did."""
    return "Write in its place, and `scope` where `concordance` stood:\n" + "\n".join(_lines(loss))


def _lines(loss: Any) -> list[str]:
    loss = loss if isinstance(loss, Mapping) else {}
    schedule, head = loss.get("region_schedule", "falling"), loss.get("joint_head", "region")
    weighted = [] if loss.get("class_weighted", True) else ["class_weighted = false"]
    lines = ["[fit.terms.vad]", 'kind = "concordance"']
    if loss.get("reduction", "sum") != "sum":
        lines.append(f'reduction = "{loss["reduction"]}"')
    lines += [f"[fit.terms.{head}]", 'kind = "cross-entropy"', *weighted]
    if schedule == "off":
        lines.append("weight = 0.0")
    elif schedule in ("falling", "linear"):
        lines.append(f'schedule = "{schedule}"')
    if schedule == "falling":
        lines += [f"span{name} = {loss[f'lambda_{old}']}" for name, old in (("", "span"), ("_epochs", "epochs"))
                  if loss.get(f"lambda_{old}") is not None]  # fmt: skip
        if loss.get("afterwards", "head") != "head":
            lines.append(f'afterwards = "{loss["afterwards"]}"')
    auxiliary = loss.get("auxiliary", {})
    for name, weight in auxiliary.items() if isinstance(auxiliary, Mapping) else ():
        lines += [f"[fit.terms.{name}]", 'kind = "cross-entropy"', f"weight = {weight}", *weighted]
    if schedule == "uncertainty":
        lines += ["[fit.balance]", 'kind = "uncertainty"']
    return lines


WITHOUT_A_LOSS: Final = "A file without [fit.loss] meant, before 2026-11-28:\n" + "\n".join(_lines({}))
"""What stood where nothing was said."""
