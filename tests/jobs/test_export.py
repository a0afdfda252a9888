"""emosphere export at the door: exit codes, messages, the one JSON line."""

import pytest


def test_a_graph_with_its_card_lies_in_the_folder(emosphere, tmp_path, monkeypatch):
    from emosphere.model import export

    traced = []

    class Program:
        class model:  # noqa: N801
            metadata_props = {}  # noqa: RUF012

        def save(self, path, external_data):
            path.write_bytes(b"graph")

    # The real trace takes its time and is tested with the library.
    monkeypatch.setattr(export, "_trace", lambda graph: traced.append(graph) or Program())
    monkeypatch.setattr(export, "_largest_difference", lambda graph, path: 1e-6)
    out = tmp_path / "out"
    answer = emosphere("export", "default", "--out", out, "--json")
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    assert answer.json["onnx"] == str(out / "model.onnx")
    assert answer.json["licence"] == "CC-BY-NC-SA-4.0"
    assert (out / "README.md").read_text().startswith("# emosphere-default")
    assert len(traced) == 1
    shown = emosphere("export", "default", "--out", out, "--format", "onnx").out
    assert "within 1e-06 of the network" in shown


def test_what_is_pushed_is_told(emosphere, monkeypatch):
    pushed = {}

    def push(checkpoint, folder, repository, *, card, graph, public):
        pushed.update(repository=repository, card=card[:19], graph=graph, public=public)
        return "https://hub.test/org/name"

    monkeypatch.setattr("pipelines.export.command.push", push)
    answer = emosphere("export", "default", "--push", "org/name")
    assert answer.code == 0
    assert pushed == {"repository": "org/name", "card": "# emosphere-default", "graph": None, "public": False}
    assert "hub https://hub.test/org/name  private" in answer.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["default"], "Say where to: --out DIR for the graph"),
        (["default", "--out", "x", "--public"], "--public is about --push"),
        (["no/such", "--out", "x"], "no such model folder"),
        (["default", "--out", "x", "--format", "tflite"], "tflite"),
        (["default", "--out", "x", "--evaluation", "no.json"], "no.json: cannot be read as an evaluation"),
    ],
)
def test_a_wrong_word_is_exit_code_2(emosphere, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    answer = emosphere("export", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "x").exists()
