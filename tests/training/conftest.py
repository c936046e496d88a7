"""Pictures for runs on many devices."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """16 training pictures and 9 to evaluate on, in 3 classes: the last batch is padded."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 9)):
        for i in range(count):
            path = folder / split / "abc"[i % 3] / f"{i}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            smooth = rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
            Image.fromarray(smooth).resize((60, 50)).save(path, "JPEG")
    return folder
