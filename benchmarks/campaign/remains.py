"""What a training run leaves in its work folder, held against what another left there."""

import json
import zipfile

from keras_resnet.training import logs

TIMED = ("seconds", "images_per_second", "input_wait")


def left(workdir) -> dict:
    """What a run leaves, without times: final.json, log rows, the network's bytes, names of files."""
    final = json.loads((workdir / "final.json").read_text())
    rows = [row.items() for row in logs.rows(workdir)]
    names = sorted(path.relative_to(workdir).as_posix() for path in workdir.rglob("*"))
    with zipfile.ZipFile(workdir / "model.keras") as archive:
        damaged = archive.testzip()
        network = {member.filename: member.CRC for member in archive.infolist()}
    return {
        "final.json": [item for item in final.items() if item[0] != "seconds"],
        "log rows": [{key: value for key, value in row if key not in TIMED} for row in rows],
        "network": [damaged, network["model.weights.h5"]],
        "files": ["events" if "tfevents" in name else name for name in names],
    }


def difference(expected: dict, found: dict) -> str | None:
    """What a run left that is not as expected."""
    for name, wanted in expected.items():
        if found[name] != wanted:
            missing = [item for item in wanted if item not in found[name]]
            more = [item for item in found[name] if item not in wanted]
            return f"its {name} differ: {more or found[name]} instead of {missing}"
    return None
