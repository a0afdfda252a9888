"""A small database written by the package audformat itself."""

from pathlib import Path
from typing import Any

import audformat
import pandas as pd


def make_database(folder: Path, *, scale: bool = True, storage: str = "csv") -> Any:
    """Two rated files in two splits, two rated stretches of a third, speakers in a table of their own."""
    database = audformat.Database("mine", source="made up", usage="unrestricted")
    ends = {"minimum": 1, "maximum": 5} if scale else {}
    for dim in ("valence", "arousal"):
        database.schemes[dim] = audformat.Scheme("float", **ends)
    database.schemes["emotion"] = audformat.Scheme("str", labels=["anger", "neutral"])
    people = {"s1": {"gender": "female"}, "s2": {"gender": "male"}, "s3": {"gender": "female"}}
    database.schemes["speaker"] = audformat.Scheme("str", labels=people)
    for part in ("train", "test"):
        database.splits[part] = audformat.Split(part)
    files = ["audio/1.wav", "audio/2.wav", "audio/3.wav"]
    for part, file, valence, arousal, emotion in (
        ("train", files[0], 1.0, 3.0, "anger"),
        ("test", files[1], 5.0, float("nan"), "neutral"),
    ):
        table = database[f"ratings.{part}"] = audformat.Table(audformat.filewise_index([file]), split_id=part)
        for name, value in (("valence", valence), ("arousal", arousal), ("emotion", emotion)):
            table[name] = audformat.Column(scheme_id=name)
            table[name].set([value])
    index = audformat.segmented_index([files[2]] * 2, starts=["0s", "1.5s"], ends=["1.5s", pd.NaT])
    table = database["stretches"] = audformat.Table(index, split_id="train")
    table["valence"] = audformat.Column(scheme_id="valence")
    table["valence"].set([2.0, 4.0])
    table = database["files"] = audformat.Table(audformat.filewise_index(files))
    table["speaker"] = audformat.Column(scheme_id="speaker")
    table["speaker"].set(["s1", "s2", "s3"])
    database.save(str(folder), storage_format=storage)
    return database
