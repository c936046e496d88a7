"""What others measured of published sets of weights, on ImageNet: claims, as against what is measured here."""

import functools
import json
import pathlib

_FILE = pathlib.Path(__file__).with_name("claims.json")  # written by tools/claims.py


@functools.cache
def _read():
    return json.loads(_FILE.read_text("utf-8")) if _FILE.exists() else {"sets": {}}


def of(name: str, size: int) -> dict:
    """timm's measurements of a set, as entries of a contract's `accuracy`; empty where there are none.

    Args:
        name: of the set by timm's names, "resnet50.a1_in1k".
        size: pixels, side of the pictures that the set is evaluated on.

    Returns:
        claimed_top1, claimed_top5 (ImageNet's validation pictures), claimed_top1_real (with their reassessed labels,
        Beyer 2020) and claimed_top1_v2 (ImageNetV2, matched frequency, Recht 2019), fractions of 1; and whose
        measurements they are.
    """
    given = _read()["sets"].get(name)
    if not given or given["size"] != size:
        return {}
    found = {"claimed_top1": given["top1"], "claimed_top5": given["top5"]}
    found |= {f"claimed_top1_{kind}": given[kind] for kind in ("real", "v2") if kind in given}
    return found | {"on": "ImageNet validation", "claimed_by": f"timm's results, {_read()['date']}"}
