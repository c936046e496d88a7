"""What is said of several forms of a network, measured side by side: which agree, which to take, and the card's page.

A form is a row, a dict: "form", its name; "path", its file; "megabytes"; "milliseconds" of one picture,
"pictures_per_second" in batches, and "x", how many times as fast as the first row, of "one" and of "many"; and what
`judged` gives.
"""

from collections.abc import Sequence

import numpy as np

from keras_resnet.commands import agreement, model_cards, reports

NOISE = 0.05  # so much faster at most is taken for equally fast


def judged(
    precision: str,
    answers: Sequence[np.ndarray],
    wanted: np.ndarray,
    targets: np.ndarray | None,
    most_lost: float | None,
) -> dict:
    """Whether a form answers as the network does.

    Args:
        precision: of the form.
        answers: its probabilities [N,K], one picture at a time and in batches.
        wanted: the network's, [N,K].
        targets: int [N], where the classes are known.
        most_lost: points of accuracy (without classes: of changed answers) that it may lose, if it is not in float32;
            None: its best classes are all the network's.

    Returns:
        "examples", "agree" (best classes that are the network's, in both), "largest_difference", with targets
        "right_before" and "right_after", and "faults": clauses, of which there are none if it agrees.
    """
    best = wanted.argmax(-1)
    one, many = (found.argmax(-1) for found in answers)
    counts = agreement.counts(one, best, targets)
    counts["agree"] = int(((one == best) & (many == best)).sum())
    counts["largest_difference"] = max(agreement.largest_difference(x, wanted) for x in answers)
    lost = counts["examples"] - counts["agree"]
    if targets is not None:
        lost = counts["right_before"] - counts["right_after"]
    if precision != "float32" and most_lost is not None:
        points = 100 * lost / len(best)
        fault = f"{points:.2f} points are lost, more than {most_lost:g}"
        return counts | {"faults": [fault] if points > most_lost else []}
    faults = agreement.faults(
        counts["largest_difference"],
        agreement.tolerance(precision),
        {"the form": counts["agree"]},
        len(best),
    )
    return counts | {"faults": faults}


def recommended(rows: Sequence[dict]) -> dict[str, str]:
    """{"one": the form to take for one picture at a time, "many": in batches}, of those that agree.

    Of equally fast ones it is the first.

    Args:
        rows: of the forms.

    Raises:
        ValueError: none agrees.
    """
    able = [row for row in rows if not row["faults"]]
    if not able:
        why = "; ".join(rows[0]["faults"]) if rows else "none could be run"
        raise ValueError(f"No form answers as the network does: {why}.")
    quickest = min(row["milliseconds"] for row in able) * (1 + NOISE)
    most = max(row["pictures_per_second"] for row in able) / (1 + NOISE)
    return {
        "one": next(row["form"] for row in able if row["milliseconds"] <= quickest),
        "many": next(row["form"] for row in able if row["pictures_per_second"] >= most),
    }


def page(card: dict) -> list[str]:
    """The lines of card.md: what to take first, and after an empty one what was measured.

    Args:
        card: "forms", the rows; "recommended", see `recommended`; "left_out", {form: why}; "batch", "rounds",
            "machine", and what `model_cards.describe` gives.
    """
    forms = {row["form"]: row for row in card["forms"]}
    one, many = (forms[card["recommended"][when]] for when in ("one", "many"))
    lines = [f"Take {_figures(one, card)}."]
    if many is not one:
        lines.append(f"In batches take {_figures(many, card)}.")
    lines += [
        f"Faster, but with other answers: {_figures(row, card)}; {'; '.join(row['faults'])}."
        for row in card["forms"]
        if row["faults"] and row["milliseconds"] < one["milliseconds"]
    ]
    machine = card["machine"]
    return [
        *lines,
        "",
        *table(card),
        "",
        f"{machine['cores']} CPU cores{' with ' * bool(machine['instructions'])}"
        f"{', '.join(machine['instructions'])}; {card['rounds']} rounds in which all take turns, medians; x is how "
        "many times as fast as the first line. OpenVINO computes a file of float32 in bfloat16 by itself where that is "
        "faster, unless INFERENCE_PRECISION_HINT is f32.",
        "",
        *(f"Left out: {form}: {reason}\n" for form, reason in card["left_out"].items()),
        *reports.markdown(
            ["", ""], ({"network": card["network"]} | model_cards.rows(card)).items()
        ),
    ]


def table(card: dict) -> list[str]:
    """The lines of the table of the forms."""
    counted = "right_after" in card["forms"][0]
    heading = ["form", "file", "MB", "one picture, ms", "x", f"batches of {card['batch']}, pictures/s", "x",
               "answered alike", *["right"] * counted]  # fmt: skip
    cells = []
    for row in card["forms"]:
        taken = "**" * (row["form"] in card["recommended"].values())
        cells.append(
            [
                f"{taken}{row['form']}{taken}",
                f"`{row['path']}`",
                f"{row['megabytes']:.1f}",
                f"{row['milliseconds']:.1f}",
                f"{row['x']['one']:.2f}",
                f"{row['pictures_per_second']:.1f}",
                f"{row['x']['many']:.2f}",
                f"{row['agree']} of {row['examples']}",
                *[row["right_after"]] * counted,
            ]
        )
    return reports.markdown(heading, cells, "llrrrrrrr")


def _figures(row, card):
    return (
        f"`{row['path']}` ({row['form']}): {row['milliseconds']:.1f} ms for one picture, "
        f"{row['pictures_per_second']:.1f} pictures/s in batches of {card['batch']}"
    )
