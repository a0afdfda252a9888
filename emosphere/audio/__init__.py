"""From the bytes of a recording to stretches of speech at 16 kHz, each with its times and how well it can be heard.

Nothing is imported here: the isolated decoder's child process loads this package and must start without torch.
"""
