"""What all layouts share: the scale, the labels, the licence."""

from pathlib import Path

import pytest
import torch

from emosphere.model.adopt.layout import labels_of, licence_of, read_json, to_centred


def test_the_last_layer_is_rewritten_to_our_scale_and_order() -> None:
    weight, bias = torch.zeros(3, 2), torch.tensor([0.0, 0.5, 1.0])  # arousal lowest, dominance middle, valence highest
    assert to_centred(weight, bias)[1].tolist() == [1.0, -1.0, 0.0]


def test_the_rewritten_layer_agrees_with_rewriting_its_answer() -> None:
    weight, bias, vector = torch.randn(3, 5), torch.randn(3), torch.randn(5)
    arousal, dominance, valence = weight @ vector + bias
    new_weight, new_bias = to_centred(weight, bias)
    expected = torch.stack([2 * valence - 1, 2 * arousal - 1, 2 * dominance - 1])
    torch.testing.assert_close(new_weight @ vector + new_bias, expected)


def test_labels_are_ordered_by_number_not_by_spelling() -> None:
    names = {str(number): f"N{number}" for number in range(11)}
    assert labels_of({"id2label": dict(sorted(names.items()))}) == [f"n{number}" for number in range(11)]
    assert labels_of({}) == []


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlanguage: en\nlicense: mit\n---\n# T\n", "MIT"),
        ("---\nlicense: 'cc-by-4.0'\n---\n", "CC-BY-4.0"),
        ("# T\n\nlicense: mit\n", "ours"),
        ("---\nlanguage: en\n---\nlicense: mit\n", "ours"),
    ],
)
def test_a_licence_is_read_from_the_head_of_the_readme_alone(tmp_path: Path, text: str, licence: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert licence_of(tmp_path, published="ours") == licence


def test_what_is_no_json_object_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "broken.json").write_text("{")
    assert [read_json(tmp_path / name) for name in ("list.json", "broken.json", "none.json")] == [{}, {}, {}]
