"""16 bits a sample: exact for what has 16 bits, the nearest for the rest, no wrap beyond full scale."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emosphere.audio.sixteen_bit import from_16_bit, to_16_bit

FLOATS = arrays(np.float32, 20, elements=st.floats(-4, 4, width=32))


def test_every_16_bit_sample_comes_back():
    values = np.arange(-(1 << 15), 1 << 15).astype(np.int16)
    samples = from_16_bit(values)
    assert samples.dtype == np.float32
    assert (samples.min(), samples.max()) == (-1.0, 32767 / 32768)
    np.testing.assert_array_equal(to_16_bit(samples), values)


@given(FLOATS)
def test_the_nearest_is_taken_and_what_is_too_loud_stays_loud(samples):
    restored = from_16_bit(to_16_bit(samples)).astype(float)
    inside = (samples >= -1) & (samples <= 32767 / 32768)
    assert (np.abs(restored - samples)[inside] <= 0.5 / 32768).all()
    assert (np.sign(restored) == np.sign(samples))[~inside].all()
    assert (np.abs(restored[~inside]) >= 32767 / 32768).all()
