"""A checkpoint as one ONNX graph, front end included, and proof that it answers what the network answers."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.errors import MachineError, UsageError
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.checkpoint import Checkpoint
from emosphere.model.description import CARD_NAME
from emosphere.model.frames import validity
from emosphere.model.network import Network
from emosphere.model.pretrained import PretrainedEncoder

ONNX_NAME = "model.onnx"
FORMAT: Final = "emosphere-onnx-1"
TOLERANCE: Final = 1e-4
"""Largest difference between the graph's answers and the network's."""
CHECKED_SAMPLES: Final = ((16_000,), (48_000, 5_000), (9_000, 31_111, 700, 24_000))
"""Lengths of the clips in each batch that the two are compared on."""
_ONE_FILE_BYTES: Final = 1_500_000_000
"""A graph of more lies in two files: protobuf ends at 2 GB."""


class ExportedGraph(NamedTuple):
    """What was written, and how well it agrees."""

    path: Path
    num_bytes: int
    largest_difference: float
    """Over all outputs, on CHECKED_SAMPLES of noise."""


class Graph(nn.Module):
    """What the graph computes: waveforms and their lengths in, what every head publishes out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, waveform: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch output"], ...]:
        """One per head, in their order: see ``Task.published``."""
        # Whoever pads may pad with anything, and a clip too short for one frame is followed by silence.
        waveform = nn.functional.pad(waveform, (0, self.network.min_samples))
        waveform = waveform.masked_fill(~validity(num_samples, waveform.shape[1]), 0.0)
        answers = self.network(self.network.features(waveform, num_samples.clamp(min=self.network.min_samples)))
        return tuple(task.published(answers[name]) for name, task in self.network.tasks.items())

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called."""
        return [task.graph_output(name) for name, task in self.network.tasks.items()]


def export_onnx(checkpoint: Checkpoint, folder: str | Path, *, card: str) -> ExportedGraph:
    """Write model.onnx and README.md into ``folder`` (made when missing).

    Inputs: ``waveform`` float32 (batch, samples) at 16 kHz, ``num_samples`` int64 (batch): the samples of each row that
    are the clip's. Outputs: one per head, as ``Task.graph_output`` names it. Both sizes are free.
    Raises UsageError where a package is missing or the network cannot be one graph, MachineError where graph and
    network differ by more than TOLERANCE.
    """
    _require_packages()
    _check_exportable(checkpoint)
    folder = Path(folder)
    path = folder / ONNX_NAME
    graph = Graph(checkpoint.network.cpu().eval()).eval()
    weights_bytes = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        program = _trace(graph)
        program.model.metadata_props.update(metadata_of(checkpoint))
        program.save(path, external_data=weights_bytes > _ONE_FILE_BYTES)
        (folder / CARD_NAME).write_text(card, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({error}).") from error
    difference = _largest_difference(graph, path)
    if not difference <= TOLERANCE:
        raise MachineError(
            f"{path}: answers differ from the network's by {difference:.2g}, more than {TOLERANCE:g}; do not use it, "
            "and report it with the versions that 'emosphere doctor' prints."
        )
    num_bytes = sum(file.stat().st_size for file in folder.glob(f"{ONNX_NAME}*"))
    return ExportedGraph(path, num_bytes, difference)


def metadata_of(checkpoint: Checkpoint) -> dict[str, str]:
    """What must be known to use the graph, as its metadata: texts and JSON."""
    config = checkpoint.config
    metadata = {
        "format": FORMAT,
        "name": checkpoint.name,
        "digest": checkpoint.digest,
        "licence": checkpoint.licence,
        "sample_rate_hz": str(config.sample_rate_hz),
        "max_clip_s": str(config.max_clip_s),
    }
    for head, task in config.tasks.items():
        metadata |= task.graph_metadata(head)
    return metadata


def _require_packages() -> None:
    import importlib.util

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"Exporting needs {', '.join(missing)}: pip install 'emosphere[export]'.")


def _check_exportable(checkpoint: Checkpoint) -> None:
    for name, stream in checkpoint.config.network.streams.items():
        if not isinstance(stream, PretrainedConfig):
            continue
        if cast(PretrainedEncoder, checkpoint.network.encoders[name]).needs_single_clips:
            raise UsageError(
                f"{checkpoint.name}: its stream {name} ({stream.kind} of size {stream.size}) normalises over all "
                "frames of a clip inside its convolutions, so it hears each clip by itself; that cannot be one graph "
                "for batches. Encoders with feat_extract_norm='layer', such as those of size large, can be exported."
            )


def _trace(graph: Graph) -> Any:
    """The ONNX program, with both sizes free. The example's sizes are in no way special."""
    example = (torch.randn(3, 9_000), torch.tensor([9_000, 5_000, 700]))
    free = torch.export.Dim.DYNAMIC
    with torch.no_grad(), _quiet():
        return torch.onnx.export(
            graph,
            example,
            dynamo=True,
            dynamic_shapes=({0: free, 1: free}, {0: free}),
            input_names=["waveform", "num_samples"],
            output_names=graph.output_names,
            verbose=False,
        )


@torch.no_grad()
def _largest_difference(graph: Graph, path: Path) -> float:
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for lengths in CHECKED_SAMPLES:
        waveform = 0.1 * torch.randn(len(lengths), max(lengths), generator=generator)
        num_samples = torch.tensor(lengths)
        outputs = session.run(None, {"waveform": waveform.numpy(), "num_samples": num_samples.numpy()})
        for answer, wanted in zip(outputs, graph(waveform, num_samples), strict=True):
            largest = max(largest, float((torch.from_numpy(answer) - wanted).abs().max()))
    return largest


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about its own parts."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
