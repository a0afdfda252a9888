"""Schedules by chance: the same seed and number give the same one, and a bad one is made as short as it can be."""

import random
from collections.abc import Callable

from tests.schedules.schedule import Habits

COMMANDS = (
    ("score", 6), ("score next", 3), ("score a.wav", 1), ("erase uri a.wav", 3), ("erase uri sub", 2),
    ("erase id b.wav", 2), ("erase older", 2), ("doctor", 1),
)  # fmt: skip
CHANGES = ("replace a.wav", "replace b.wav", "replace sub/c.wav", "add e.wav", "add sub/f.wav")
FAULTS = (("", 1), ("stop", 8), ("kill", 3), ("kill main", 2), ("cut", 2), ("next", 3))
ON_A_DISK = (("ask", 5), ("until", 1), ("amid", 1), ("after", 1), ("left", 3))
ON_S3 = (("ask", 2), ("until", 5), ("after", 3))
FATES = ("late", "lost", "twice", "unanswered")
Schedule = tuple[str, list[str]]
"""In what state OUT is at first, and the steps."""


def draw(seed: int, number: int, habits: dict[str, Habits], *, has_locks: bool) -> Schedule:
    """Schedule ``number`` of a seed, of commands that do what their ``habits`` say, under a lock or not."""
    chance = random.Random(f"{seed} {number}")
    commands = [_one_of(chance, COMMANDS) for _ in range(chance.choice((2, 2, 3)))]
    if not any(command.startswith("score") for command in commands):
        commands[0] = "score"
    if chance.random() < 0.4 and commands[0].startswith("score"):  # the same command, resumed
        commands[-1] = commands[0]
    state = "empty" if commands[0] in ("score", "score next") and chance.random() < 0.5 else "scored"
    steps = [f"archive {chance.choice(CHANGES)}" for _ in range(chance.choice((1, 2)) if state == "scored" else 0)]
    started: set[int] = set()
    for turn in range(chance.randint(len(commands), len(commands) + 4)):
        process = turn + 1 if turn < len(commands) else chance.randint(1, len(commands))
        if process not in started:
            steps.append(f"{process} start {commands[process - 1]}" + chance.choice(("", " elsewhere")))
            started.add(process)
        else:
            steps += [f"{process} heal", f"{process} cont"]
            if chance.random() < 0.2:
                steps.append(f"{process} beat")
        is_last = turn == len(commands) - 1
        to_the_end = 6 if is_last else 1 + (turn > 0)
        steps += [
            f"{process} {_move(chance, habits[commands[process - 1].split()[0]], to_the_end, has_locks)}",
            *_fault(chance, process, is_left_alone=is_last),
        ]
        steps += _event(chance, process)
    return state, steps


def sweep(seed: int, habits: dict[str, Habits], *, has_locks: bool) -> list[Schedule]:
    """One command stopped, killed or cut off wherever it can stand; another runs, the first one is run again, and the
    sleeper wakes. In an order by chance.
    """
    schedules: list[Schedule] = []
    changed = ["archive replace b.wav", "archive add sub/f.wav"]
    for state, first in (("empty", "score"), ("scored", "score"), ("scored", "erase uri sub")):
        for stand in range(1, habits[first.split()[0]].num_stands + 1):
            for fault in ("stop", "kill") if has_locks else ("stop", "kill", "cut"):
                for second in ("erase uri a.wav", "erase uri sub", "score", "score next"):
                    begun = [*(changed if state == "scored" else []), f"1 start {first} elsewhere", f"1 run {stand}"]
                    others = [f"2 start {second}", "2 run", "3 start score", "3 run"]
                    awake = ["1 run", *others] if fault == "cut" else [*others, "1 cont", "1 run"]
                    schedules.append((state, [*begun, f"1 {fault}", *awake]))
    random.Random(seed).shuffle(schedules)
    return schedules


def _one_of(chance: random.Random, weighted: tuple[tuple[str, int], ...]) -> str:
    return chance.choices([one for one, _ in weighted], [weight for _, weight in weighted])[0]


def _move(chance: random.Random, habits: Habits, to_the_end: int, has_locks: bool) -> str:
    verb = _one_of(chance, (("run", to_the_end), ("some", 8), *(ON_A_DISK if has_locks else ON_S3)))
    if verb == "run":
        return "run"
    if verb == "some":
        return f"run {chance.randint(1, habits.num_stands)}"
    if verb == "ask" and has_locks and chance.random() < 0.3:
        return f"ask held {chance.choice((1, 2))}"
    kind, times = chance.choice(list(habits.kinds.items()))
    return f"{verb} {kind} {chance.randint(1, times) if chance.random() < 0.5 else 1}"


def _fault(chance: random.Random, number: int, *, is_left_alone: bool) -> list[str]:
    if is_left_alone and chance.random() < 0.6:
        return []
    fault = _one_of(chance, FAULTS)
    if fault == "cut":
        return [f"{number} cut", f"{number} run {chance.choice((1, 3, 10, 100))}"]
    if fault == "next":
        return [f"{number} next {chance.choice(FATES)}", f"{number} run {chance.choice((1, 2, 4, 20))}"]
    return [f"{number} {fault}"] if fault else []


def _event(chance: random.Random, number: int) -> list[str]:
    return chance.choice(
        (
            [], [], [], [], [], [],
            [f"archive {chance.choice(CHANGES)}"],
            ["deliver 1"],
            [f"deliver {chance.randint(1, 3)}"],
            [f"wait {chance.choice((5, 30))}"],
            [f"{number} clock {chance.choice((-86400, -3600, 3600, 172800))}"],
        )
    )  # fmt: skip


def shorten(schedule: Schedule, is_bad: Callable[[Schedule], bool]) -> Schedule:
    """The schedule without every step, and with the smallest numbers, that it is as bad without."""
    state, steps = schedule
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for size in (4, 2, 1):
            position = 0
            while position < len(steps):
                fewer = steps[:position] + steps[position + size :]
                if is_bad((state, fewer)):
                    steps, is_shorter = fewer, True
                else:
                    position += 1
        for position, step in enumerate(steps):
            for simpler in _simpler(step):
                changed = [*steps[:position], simpler, *steps[position + 1 :]]
                if is_bad((state, changed)):
                    steps, is_shorter = changed, True
                    break
    if state != "empty" and is_bad(("empty", steps)):
        state = "empty"
    return state, steps


def _simpler(step: str) -> list[str]:
    *words, last = step.split()
    simpler = []
    if last.isdigit() and int(last) > 1 and words[0] != "wait":
        simpler += [" ".join([*words, str(number)]) for number in sorted({1, int(last) // 2, int(last) - 1}) if number]
    if last == "elsewhere":
        simpler.append(" ".join(words))
    return simpler
