"""The lanes of the race in bench_peers.py: one file per engine, each written as its own users would write it."""
