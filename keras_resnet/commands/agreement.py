"""Whether an export answers as the network that it was made of. No Keras here."""

import numpy as np


def tolerance(precision: str) -> float:
    """How far probabilities may be off, relative to a picture's largest: float32 by rounding alone; in half precision
    or int8 the best class is what counts."""
    return 1e-4 if precision == "float32" else 1.0


def largest_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of probabilities [N,K], relative to the largest that is wanted of each picture."""
    return float((np.abs(found - wanted) / wanted.max(-1, keepdims=True)).max())


def faults(
    difference: float, tolerance: float, alike: dict[str, int], examples: int, differ: int = 0
) -> list[str]:
    """What does not agree, each a clause.

    Args:
        difference: `largest_difference`.
        alike: whose best classes are compared -> how many are the network's.
        examples: pictures.
        differ: how many best classes may be others.
    """
    found = []
    if not difference <= tolerance:
        found.append(f"probabilities differ by {difference:.1e}, more than {tolerance}")
    for name, count in alike.items():
        if examples - count > differ:
            found.append(f"{name}'s best class differs on {examples - count} pictures")
    return found


def counts(found: np.ndarray, wanted: np.ndarray, targets: np.ndarray | None) -> dict[str, int]:
    """How many best classes are the network's, and where the pictures' own are known how many are right.

    Args:
        found: int [N], the export's.
        wanted: int [N], the network's.
        targets: int [N], the pictures'.

    Returns:
        "examples", "agree", and with targets "right_before" of the network and "right_after" of the export.
    """
    counted = {"examples": len(wanted), "agree": int((found == wanted).sum())}
    if targets is not None:
        counted["right_before"] = int((wanted == targets).sum())
        counted["right_after"] = int((found == targets).sum())
    return counted
