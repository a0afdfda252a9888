"""The engines that bench_peers.py compares: one file each, written as its own users would write it."""
