"""What a long run draws anew each round. DUPLEX_SEED decides the order of the scenarios, the sizes of the disks and the loads;
without it all of them are the usual ones. DUPLEX_UNTIL (seconds since 1970): no scenario begins after it."""

import os
import random
import time

SEED = os.environ.get("DUPLEX_SEED")
UNTIL = float(os.environ.get("DUPLEX_UNTIL", "inf"))


def drawn(what, usual, choices):
    """`usual`, or in a long run one of `choices`: for the same seed and `what` always the same one."""
    return usual if SEED is None else random.Random(f"{SEED} {what}").choice(choices)


def in_this_test(what, usual, choices):
    return drawn(f"{os.environ.get('PYTEST_CURRENT_TEST', '').split(' ')[0]} {what}", usual, choices)


def order(items, group_of):
    """Shuffles the items within each group; the groups stay in their order."""
    if SEED is None:
        return
    groups = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    for name, members in groups.items():
        random.Random(f"{SEED} {name}").shuffle(members)
    items[:] = [item for members in groups.values() for item in members]


def time_is_up():
    return time.time() > UNTIL
