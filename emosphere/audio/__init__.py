"""From the bytes of a recording to samples at 16 kHz, each at its place on the recording's own clock.

Nothing is imported here: the isolated decoder's child process loads this package and must start without torch.
"""
