"""IEMOCAP's label files, with what else lies in their folders."""

from pathlib import Path

DIALOG = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes0{n}F_impro01_F000\tneu\t[2.5000, 3.0000, 5.0000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Frustration;\t(a comment)
A-E3:\tval 3; act 2; dom  2;\t()
A-E4:\tval 2; act ; dom  3;\t(mostly nonverbal)

[10.0100 - 11.3925]\tSes0{n}F_impro01_M001\txxx\t[1.0000, 4.5000, 3.0000]
C-M1:\tOther;\t(Curious)
"""


def make_iemocap(folder: Path, **dialogs: str) -> Path:
    """Write five sessions of one dialog with two turns below ``folder``, no audio; ``session3=TEXT`` replaces one."""
    for session in range(1, 6):
        evaluation = folder / f"Session{session}" / "dialog" / "EmoEvaluation"
        (evaluation / "Categorical").mkdir(parents=True)
        text = dialogs.get(f"session{session}", DIALOG.replace("{n}", str(session)))
        (evaluation / f"Ses0{session}F_impro01.txt").write_text(text)
        (evaluation / f"._Ses0{session}F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")
        (evaluation / "Categorical" / "Ses01F_impro01_e2_cat.txt").write_text("[1 - 2] other lines\n")
    return folder
