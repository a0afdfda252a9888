"""Program: import what a decoder child imports, and print whether torch came with it."""

import importlib
import sys

if __name__ == "__main__":
    for module in ("child_main", "decode"):
        importlib.import_module(f"emosphere.audio.decoding.{module}")
    print("torch" in sys.modules)
