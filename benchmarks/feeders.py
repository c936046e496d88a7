"""One contestant of `input_pipeline.py` in a separate process: ``feeders.py '{"contestant": ..., ...}'``.

Each yields batches, uint8 [B,S,S,3] of a folder's pictures, shuffled and without an end, by as many threads or
worker processes as the machine has cores; those of the colour section yield float32 [B,S,S,3] of random
pictures in memory. Peers run under another Python if asked, so nothing of the project but its clock is imported before
a contestant of ours needs it.

Speaks the protocol of `keras_resnet.commands.timing`, and says "cpu_seconds" (this process and its workers) and
"resident_bytes" besides. A pipeline works ahead while nobody asks: so what it holds is drawn before the clock starts,
and a visit ends when the pipeline has filled itself again and rests. Linux alone (/proc).
"""

import multiprocessing
import os
import pathlib
import re
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from keras_resnet.commands.timing import work

AHEAD = 4  # batches, what the contestants hold ready at most
SHORTER_SIDE = (256, 480)  # pixels; the paper's section 3.4
PCA, JITTER = 0.1, 0.4  # the paper's; fb.resnet.torch's
EIGENVALUES = [0.2175, 0.0188, 0.0045]  # of ImageNet's colours in [0, 1], as fb.resnet.torch
EIGENVECTORS = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]


# --- Pictures from a folder


def ours(spec):
    """keras_resnet.data.feeds.stream, by its "decoder"; "first": no file is ever met twice."""
    import keras_resnet.data
    from keras_resnet.data.augment import windows
    from keras_resnet.data.feeds import stream

    split = keras_resnet.data.load(spec["folder"]).train
    count = 2**20 if spec.get("first") else enough(len(split), spec)
    split = split.subset(np.arange(count) % len(split))
    crop = {"paper": windows.ScaleCrop, "rrc": windows.RandomResizedCrop}[spec["crop"]]
    window = crop(antialias=spec["antialias"])
    dataset = stream.training(
        split,
        spec["batch"],
        window=window,
        size=spec["size"],
        seed=0,
        decoder=spec.get("decoder", "tensorflow"),
    )
    batches = (pictures for pictures, _ in dataset)
    if not spec.get("first"):
        for _ in range(len(split) // spec["batch"]):
            next(batches)
    return batches


def decode_all(spec):
    """The paper's augmentation as tf.data is usually written: decode, resize all, crop, flip."""
    import tensorflow as tf

    def picture(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        shorter = tf.random.uniform([], SHORTER_SIDE[0], SHORTER_SIDE[1] + 1, tf.int32)
        scale = tf.cast(shorter, tf.float32) / tf.reduce_min(sides)
        resized = tf.cast(tf.round(sides * scale), tf.int32)
        image = tf.image.resize(image, resized, antialias=spec["antialias"])
        image = tf.image.random_crop(image, [spec["size"], spec["size"], 3])
        image = tf.image.random_flip_left_right(image)
        return tf.cast(image + 0.5, tf.uint8)

    paths = files(spec)
    dataset = tf.data.Dataset.from_tensor_slices(paths).repeat().shuffle(len(paths))
    return _batched(tf, dataset.map(picture, num_parallel_calls=spec["threads"]), spec)


def dali(spec):
    """DALI's random-resized-crop: only the window is decoded, on the CPU."""
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=spec["batch"], num_threads=spec["threads"], device_id=None, seed=0)
    def pipeline():
        encoded, _ = fn.readers.file(files=files(spec), random_shuffle=True)
        image = fn.decoders.image_random_crop(
            encoded, device="cpu", random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3]
        )
        size, linear = [spec["size"], spec["size"]], types.INTERP_LINEAR
        image = fn.resize(image, size=size, interp_type=linear, antialias=spec["antialias"])
        return fn.flip(image, horizontal=fn.random.coin_flip())

    built = pipeline(prefetch_queue_depth=2)
    built.build()
    while True:
        (pictures,) = built.run()
        yield np.asarray(pictures.as_tensor())


def torchvision(spec):
    """torchvision's transforms on Pillow's pictures, in a DataLoader; Pillow always antialiases."""
    import torch

    transforms = import_torchvision(torch).transforms
    if spec["crop"] == "paper":
        crop = [_ShorterSide(), transforms.RandomCrop(spec["size"])]
    else:
        crop = [transforms.RandomResizedCrop(spec["size"])]
    dataset = _Pictures(files(spec), [*crop, transforms.RandomHorizontalFlip()])
    endless = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=10**9)
    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(
        dataset, spec["batch"], sampler=endless, num_workers=spec["threads"], prefetch_factor=2
    )
    return (pictures.numpy() for pictures in loader)


class _Pictures:
    """A data set of torch's: path -> uint8 [S,S,3]."""

    def __init__(self, paths, transforms):
        self._paths, self._transforms = paths, transforms

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, index):
        import torch
        from PIL import Image

        with Image.open(self._paths[index]) as image:
            image = image.convert("RGB")
        for transform in self._transforms:
            image = transform(image)
        return torch.from_numpy(np.array(image))


class _ShorterSide:
    def __call__(self, image):
        import torch
        from torchvision.transforms import functional

        low, high = SHORTER_SIDE
        return functional.resize(image, int(torch.randint(low, high + 1, ())))


def import_torchvision(torch):
    """torchvision without its compiled operators, which no CPU build on the registry has: models and transforms need
    none, but the import wants to see them."""
    declared = torch.library.Library("torchvision", "DEF")
    while True:
        try:
            import torchvision

            torchvision.declared = declared  # for as long as the module
            return torchvision
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if not missing:
                raise
            declared.define(f"{missing[1]}(Tensor x) -> Tensor")
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]


# --- Colour, on pictures in memory


def plain(spec):
    """Batches of the pictures as they are: what the two others have in common."""
    import tensorflow as tf

    return _batched(tf, _in_memory(tf, spec), spec)


def affine(spec):
    """Ours: one affine map a picture, on the batch."""
    import tensorflow as tf

    from keras_resnet.data.augment import mixing

    colour = mixing.Colour(pca=PCA, jitter=JITTER)
    recolour = tf.function(mixing.recolour)
    for step, pictures in enumerate(plain(spec)):
        yield recolour(pictures, **colour.draw(0, step, spec["batch"]))


def tf_image(spec):
    """Brightness, contrast and saturation by tf.image, then the PCA noise, picture by picture."""
    import tensorflow as tf

    components = tf.constant(np.multiply(EIGENVECTORS, EIGENVALUES), tf.float32)

    def picture(image):
        image = tf.image.convert_image_dtype(image, tf.float32)
        image = tf.image.random_brightness(image, JITTER)
        image = tf.image.random_contrast(image, 1 - JITTER, 1 + JITTER)
        image = tf.image.random_saturation(image, 1 - JITTER, 1 + JITTER)
        return image + tf.linalg.matvec(components, tf.random.normal([3], stddev=PCA))

    dataset = _in_memory(tf, spec).map(picture, num_parallel_calls=spec["threads"])
    return _batched(tf, dataset, spec)


def _in_memory(tf, spec):
    shape = (spec["batch"], spec["size"], spec["size"], 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return tf.data.Dataset.from_tensor_slices(pictures).repeat()


# --- All


CONTESTANTS = {
    f.__name__: f for f in (ours, decode_all, dali, torchvision, plain, affine, tf_image)
}  # fmt: skip


def enough(count, spec):
    """How many pictures to list, in whole rounds of `count`, so that an epoch is not mostly its end."""
    return count * max(1, -(-32 * spec["batch"] // count))


def files(spec):
    paths = sorted(str(path) for path in pathlib.Path(spec["folder"]).glob("*/*"))
    return paths * (enough(len(paths), spec) // len(paths))


def _batched(tf, dataset, spec):
    options = tf.data.Options()
    options.autotune.enabled = False  # it rounds times up
    return dataset.batch(spec["batch"], drop_remainder=True).prefetch(2).with_options(options)


def cpu_seconds():
    """Of this process' threads and of its living children; theirs in hundredths of a second."""
    ticks = 0
    for child in multiprocessing.active_children():
        fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def rest():
    """Waits until the pipeline has filled itself, which shows in its CPU time standing still."""
    deadline = time.monotonic() + 10
    before = cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = cpu_seconds()
        if now - before < 0.01:
            return
        before = now


def serve(spec, gate):
    batches = iter(CONTESTANTS[spec.pop("contestant")](spec))
    shape = (spec["batch"], spec["size"], spec["size"], 3)
    first = next(batches)
    if tuple(first.shape) != shape or first.dtype not in ("uint8", "float32"):
        raise ValueError(f"gives {first.dtype} {tuple(first.shape)} in place of uint8 {shape}")
    gate.say(ready={"dtype": np.dtype(getattr(first.dtype, "name", first.dtype)).name})
    del first
    for line in sys.stdin:
        for _ in range(AHEAD):
            next(batches)
        began, cpu = time.perf_counter(), cpu_seconds()
        for _ in range(int(line)):
            next(batches)
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
        rest()
        gate.say(seconds=seconds, cpu_seconds=cpu, resident_bytes=resident_bytes())


if __name__ == "__main__":
    work(serve)
