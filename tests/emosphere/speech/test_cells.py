"""Cells lie where they lie, however the audio arrives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emosphere.speech.cells import CellGrid, cut_cells

# Small cells, the same rules: borders are sought in [k * 1.5 - 0.3, k * 1.5 + 0.3) s.
GRID = CellGrid(cell_s=1.5, search_s=0.3, lead_in_s=0.256)


def cells_by_the_book(wave, grid):
    """The definition, on the whole recording at once: (channel, index, start, lead_in, samples)."""
    cells = []
    num_samples = wave.shape[1]
    for channel, samples in enumerate(wave):
        borders = [0]
        for k in range(1, 1000):
            low, high = (
                round((k * grid.cell_s - grid.search_s) * 16_000),
                round((k * grid.cell_s + grid.search_s) * 16_000),
            )
            if num_samples < high:
                break
            positions = [p for p in range(0, high, 512) if p >= low and p + 3072 <= high]
            powers = [
                round(float(np.square(samples[p : p + 3072].astype(np.float64)).sum()) / 3072 / 1e-9) for p in positions
            ]
            borders.append(positions[powers.index(min(powers))])
        stops = [*borders[1:], num_samples]
        for index, (start, stop) in enumerate(zip(borders, stops, strict=True)):
            lead_in = 0 if index == 0 else round(grid.lead_in_s * 16_000)
            if stop > start:
                cells.append((channel, index, start, lead_in, samples[start - lead_in : stop]))
    return sorted(cells, key=lambda cell: (cell[1], cell[0]))


def in_blocks(wave, sizes):
    start = 0
    for size in sizes:
        if start >= wave.shape[1]:
            return
        yield wave[:, start : start + size]
        start += size
    if start < wave.shape[1]:
        yield wave[:, start:]


@st.composite
def recordings(draw):
    num_channels = draw(st.integers(1, 3))
    num_samples = draw(st.integers(1, 100_000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    loudness = np.repeat(rng.uniform(0, 0.3, (num_channels, num_samples // 3000 + 1)), 3000, axis=1)[:, :num_samples]
    wave = (loudness * rng.standard_normal((num_channels, num_samples))).astype(np.float32)
    if draw(st.booleans()):
        wave[:, num_samples // 3 :] = 0
    return wave


@settings(max_examples=60)
@given(recordings(), st.lists(st.integers(1, 40_000), max_size=8), st.data())
def test_cells_are_those_of_the_definition(wave, sizes, data):
    expected = cells_by_the_book(wave, GRID)
    first = data.draw(st.integers(0, 5), label="first_cell")
    stop = data.draw(st.none() | st.integers(0, 6), label="stop_cell")
    start = round(GRID.span_s(first) * 16_000)
    cells = list(
        cut_cells(in_blocks(wave[:, start:], sizes), start_sample=start, first_cell=first, stop_cell=stop, grid=GRID)
    )
    wanted = [cell for cell in expected if first <= cell[1] and (stop is None or cell[1] < stop)]
    assert [(c.channel, c.index, c.start_sample, c.lead_in) for c in cells] == [cell[:4] for cell in wanted]
    for cell, (_, _, _, _, samples) in zip(cells, wanted, strict=True):
        np.testing.assert_array_equal(cell.samples, samples)
        assert cell.start_sample % 512 == 0
        assert cell.stop_sample == cell.start_sample + len(samples) - cell.lead_in


@settings(max_examples=20)
@given(recordings(), st.integers(1, 4))
def test_cells_cut_apart_are_those_cut_together(wave, border):
    def cells(first, stop):
        start = round(GRID.span_s(first) * 16_000)
        cut = cut_cells(iter([wave[:, start:]]), start_sample=start, first_cell=first, stop_cell=stop, grid=GRID)
        return [(c.channel, c.index, c.start_sample, c.lead_in, c.same_as, c.samples.tobytes()) for c in cut]

    assert cells(0, border) + cells(border, None) == cells(0, None)


@settings(max_examples=20)
@given(recordings())
def test_each_channel_is_covered_once(wave):
    cells = list(cut_cells([wave], start_sample=0, first_cell=0, stop_cell=None, grid=GRID))
    for channel in range(len(wave)):
        own = [cell.samples[cell.lead_in :] for cell in cells if cell.channel == channel]
        np.testing.assert_array_equal(np.concatenate(own), wave[channel])


def test_borders_fall_into_pauses():
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 130 * 16_000)).astype(np.float32)
    wave[0, round(58.4 * 16_000) : round(58.9 * 16_000)] = 0
    cells = list(cut_cells([wave], start_sample=0, first_cell=0, stop_cell=None, grid=CellGrid()))
    assert [cell.index for cell in cells] == [0, 1, 2]
    # The first 512-sample step that begins 192 ms of silence.
    assert cells[1].start_sample == -(-round(58.4 * 16_000) // 512) * 512
    assert cells[1].lead_in == 32_768


def test_reading_stops_with_the_last_wanted_cell():
    taken = []

    def blocks():
        for second in range(1000):
            taken.append(second)
            yield np.zeros((1, 16_000), dtype=np.float32)

    cells = list(cut_cells(blocks(), start_sample=0, first_cell=0, stop_cell=2, grid=CellGrid()))
    assert len(cells) == 2
    assert len(taken) == 123


def test_memory_stays_bounded():
    import tracemalloc

    def blocks(num_seconds):
        for second in range(num_seconds):
            yield np.full((2, 16_000), second, dtype=np.float32)

    def peak(num_seconds):
        tracemalloc.start()
        for _ in cut_cells(blocks(num_seconds), start_sample=0, first_cell=0, stop_cell=None, grid=CellGrid()):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(1200) < peak(300) + 1_000_000


def test_blocks_that_begin_too_late_are_refused():
    with pytest.raises(ValueError, match="Cell 2 needs audio from sample 1839232"):
        list(cut_cells([], start_sample=1_900_000, first_cell=2, stop_cell=None, grid=CellGrid()))


def test_no_audio_gives_no_cells():
    assert not list(cut_cells([], start_sample=0, first_cell=0, stop_cell=None, grid=CellGrid()))


def test_a_grid_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"search_s=30\.0 .* cell_s=60"):
        CellGrid(search_s=30.0)
    with pytest.raises(ValueError, match="192 ms"):
        CellGrid(search_s=0.1)
    with pytest.raises(ValueError, match="lead_in_s=58"):
        CellGrid(lead_in_s=58.0)


def test_equal_channels_are_marked_cell_by_cell():
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.1, (3, 200 * 16_000)).astype(np.float32)
    wave[1, : 130 * 16_000] = wave[0, : 130 * 16_000]
    cells = list(cut_cells([wave], start_sample=0, first_cell=0, stop_cell=None, grid=CellGrid()))
    marks = {(cell.index, cell.channel): cell.same_as for cell in cells}
    assert [marks[index, 1] for index in range(4)] == [0, 0, None, None]
    assert {marks[index, 2] for index in range(4)} == {None}
