"""A trained network -> a SavedModel that TF Serving loads: pictures or their files in, class names out.

What is served is what was evaluated: decoding, resize and crop (`data.views.center`), normalisation and network
are one graph, of operations that TensorFlow 2.20 has. The network is folded (`fold`); all signatures share its
weights, which are stored once.

The weights are variables. As constants, TensorFlow would lay them out for its convolutions once and not at each call,
but a session then takes 5 s of CPU to its first answer instead of 0.8, and 2.4 GB instead of 0.9. A server's
environment (`serving.ENVIRONMENT`) asks for the same, for memory of the weights' own size.
"""

import contextlib
import errno
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_resnet.data import images, views
from keras_resnet.evaluation import scores
from keras_resnet.networks.models import building
from keras_resnet.serving.fold import fold
from keras_resnet.support import files, label_files, labels

REASONS = ("", "empty", "unknown_format", "too_large", "undecodable")  # why a picture is not valid

_VALID, _EMPTY, _UNKNOWN, _TOO_LARGE, _UNDECODABLE = range(len(REASONS))


def save(
    model: keras.Model,
    path,
    *,
    class_names: Sequence[str] | None = None,
    top: int = 5,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str = "bilinear",
    precision: str = "float32",
    webp: bool = False,
    finish: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
    """Writes the next version of a served model, whole or not at all.

    Signatures, each with N from 0 on and float32 outputs:

    - serving_default: "pictures" uint8 [N,H,W,C] -> "probabilities" [N,K]. Pictures of `size` x `size` are taken
      as they are, all others resized and cropped as in evaluation.
    - serving_float: the same of "pictures" float32 in 0..255.
    - features: "pictures" uint8 -> "features" [N,F], what the classifier reads.
    - predict_bytes: "image_bytes" string [N], JPEG or PNG (or WebP) files of any size -> the `top` best, "classes"
      string, "scores" and "indices" int32, all [N,top], best first; "valid" bool [N] and "reason" string [N]. A bad
      picture leaves the others alone: its reason is one of `REASONS`, its classes are "", scores 0, indices -1.
      Files are decoded side by side on all cores; what `data.images.decode` refuses as too large, by its header, is
      too_large here. EXIF orientation is not applied (see `data.images.decode`).

    Args:
        model: a classifier of pictures with 1 or 3 channels, ending in softmax or logits.
        path: local folder of the model; the version is a folder in it, 1 or the next number.
        class_names: in the order of the index, one line each; None for ImageNet-1k's 1,000 wnids.
        top: classes that predict_bytes names, 1 to K.
        size: pixels, side of the crop; None takes the network's own.
        resize: pixels, shorter side before the crop; None: `data.views.resize_for`.
        interpolation: of that resize, "bilinear" or "bicubic": that of evaluation.
        precision: of weights and computation: see `fold.fold`.
        webp: read WebP too, by an operation that TensorFlow has from 2.20 on; animations are undecodable.
        finish: called with the folder before it becomes the version: may add files to it.

    Returns:
        The version's folder.

    Raises:
        ValueError: an argument that does not fit, one sentence.
        OSError: the folder cannot be written; nothing is left of it.
    """
    classifier = _Classifier(model, precision, size, resize, interpolation)
    names = names_for(class_names, classifier.classes)
    if not 1 <= top <= classifier.classes:
        raise ValueError(f"top is 1 to {classifier.classes}, the network's classes; got {top}.")

    def write(folder):
        with tempfile.TemporaryDirectory() as asset:
            text = pathlib.Path(asset, "labels.txt")
            text.write_bytes("".join(f"{name}\n" for name in names).encode())
            try:
                _write(classifier, text, top, webp, folder)
            except Exception as error:
                if type(error).__module__.partition(".")[0] != "tensorflow":
                    raise
                raise OSError(errno.EIO, _cause(error)) from error
        if finish:
            finish(folder)

    return publish(path, write)


def network(
    model: keras.Model, precision: str = "float32", size: int | None = None
) -> tuple[Callable, tuple[int, int, int], int]:
    """What an export computes of pictures that have its size, for executors other than TensorFlow too.

    Returns:
        A `tf.function` of float32 [N,size,size,C] in 0..255 -> (probabilities [N,K], features [N,F]), float32;
        (size, size, C); K.

    Raises:
        ValueError: as `save`.
    """
    classifier = _Classifier(model, precision, size)
    return classifier.compute, classifier.shape, classifier.classes


def names_for(class_names: Sequence[str] | None, classes: int) -> list[str]:
    """The names of all classes; ImageNet-1k's where there are none and the classes are 1,000.

    Raises:
        ValueError: too few, too many, or one that is no line of text.
    """
    if not class_names:
        if classes != 1000:
            raise ValueError(
                f"class_names are missing: the network has {classes} classes, and names are known for "
                "ImageNet's 1000 alone."
            )
        return list(labels.imagenet_classes())
    names = list(class_names)
    if len(names) != classes:
        raise ValueError(f"The network has {classes} classes, but there are {len(names)} names.")
    label_files.check(names)
    return names


# --- the version's folder


def publish(path, write: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Calls ``write(folder)`` with an empty folder aside, which then becomes the next version in `path`, in one step.

    Whatever is raised there, no version comes and the folder aside goes, with `path` itself if that was new. What a
    killed process left aside, the next one removes (see `files`).

    Returns:
        The version's folder.

    Raises:
        ValueError: `path` is a file, or behind a URL.
        OSError: it cannot be written; a sentence with `path`.
    """
    if files.is_remote(path):
        raise ValueError(f"A model is exported to a local folder; got {path}: copy it from there.")
    path = pathlib.Path(path)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"A model is exported to a folder, but {place} is a file.")
    new = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with files.aside_folder(path) as folder:
            version = folder / "version"
            version.mkdir()
            write(version)
            for file in version.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as written:
                        os.fsync(written.fileno())
            return _move(version, path)
    except OSError as error:
        raise OSError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        for place in new:
            with contextlib.suppress(OSError):  # it holds the version now
                place.rmdir()


def _cause(error):
    """What TensorFlow's error says, without the names of its operation and file around it."""
    line = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", str(error).splitlines()[0])
    return line.rpartition("; ")[2].strip(" .")


def _move(part, path):
    """Another export may take the same number at the same time: then the next one."""
    numbers = [int(p.name) for p in path.iterdir() if p.name.isascii() and p.name.isdecimal()]
    number = max(numbers, default=0) + 1
    while True:
        try:
            return part.rename(path / str(number))
        except OSError:
            if not (path / str(number)).exists():
                raise
            number += 1


# --- the graph


class _Classifier:
    """The folded network as one TensorFlow function, and the view that its pictures come through."""

    def __init__(self, model, precision, size, resize=None, interpolation="bilinear"):
        import tensorflow as tf

        scores.check(model)
        height, width, channels = model.input_shape[1:]
        if height != width:
            raise ValueError(
                f"{model.name} reads {height}x{width} pictures; square ones are served."
            )
        if channels not in (1, 3):
            raise ValueError(
                f"{model.name} reads pictures of {channels} channels; files have 1 or 3."
            )
        size = size or height or 224
        if size != (height or size):
            raise ValueError(
                f"{model.name} reads {height}x{height} pictures, not {size}x{size}: build it with "
                f"input_shape=({size}, {size}, {channels})."
            )
        self.shape, self.classes = (size, size, channels), model.output_shape[-1]
        self.view = views.center(size, resize or views.resize_for(size), interpolation)
        with building():
            folded = fold(model, precision)
            for layer in folded._flatten_layers():
                if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1:
                    layer.convolution_op = _grouped(layer)
                    layer.use_bias = False
            dense = [layer for layer in folded.layers if isinstance(layer, keras.layers.Dense)][-1]
            both = keras.Model(folded.inputs, [folded.outputs[0], dense.input])
        activation = folded.layers[-1].activation
        logits = activation is not keras.activations.softmax
        weights = [
            [np.asarray(variable.value) for variable in variables]
            for variables in (both.trainable_variables, both.non_trainable_variables)
        ]

        self.held = held = [
            [tf.Variable(value, trainable=False) for value in values] for values in weights
        ]

        def compute(pictures):
            read = [[tf.convert_to_tensor(variable) for variable in group] for group in held]
            with building():
                (scores, features), _ = both.stateless_call(*read, pictures, training=False)
            return tf.nn.softmax(scores) if logits else scores, tf.cast(features, tf.float32)

        spec = tf.TensorSpec([None, *self.shape], tf.float32)
        self.compute = tf.function(compute, input_signature=[spec], autograph=False)

    def answers(self, pictures):
        """`compute` for N from 0 on: TensorFlow's fused convolutions take no empty batch."""
        import tensorflow as tf

        count = tf.shape(pictures)[0]
        blank = tf.zeros([1, *self.shape])
        some = tf.cond(tf.equal(count, 0), lambda: blank, lambda: pictures)
        return [answer[:count] for answer in self.compute(tf.ensure_shape(some, pictures.shape))]

    def fitted(self, pictures):
        """[N,H,W,C] -> float32 [N,size,size,C], as evaluation shows them to the network."""
        import tensorflow as tf

        def seen():
            return tf.cast(tf.map_fn(self.view, pictures, fn_output_signature=tf.uint8), tf.float32)

        size = self.shape[0]
        fits = tf.reduce_all(tf.equal(tf.shape(pictures)[1:3], size))
        fitted = tf.cond(fits, lambda: tf.cast(pictures, tf.float32), seen)
        return tf.ensure_shape(fitted, [None, *self.shape])


def _grouped(layer):
    """Convolution in groups and bias, by TensorFlow's own operations.

    Keras compiles the first by XLA, which a server may lack and tf2onnx does not read; ResNeXt-50 is twice as fast so,
    with oneDNN. The second is no BiasAdd, since TensorFlow without oneDNN fuses that into a convolution that refuses
    groups.
    """
    import tensorflow as tf

    def convolve(pictures, kernel):
        padding = layer.padding.upper()
        x = tf.nn.conv2d(pictures, kernel, layer.strides, padding, dilations=layer.dilation_rate)
        return x + tf.reshape(tf.convert_to_tensor(layer.bias), [1, 1, 1, -1])

    return convolve


def _write(classifier, text, top, webp, folder):
    import tensorflow as tf

    channels = classifier.shape[-1]

    def on(dtype, name, answer):
        """A signature from pictures to one of the network's two answers."""

        @tf.function(
            input_signature=[tf.TensorSpec([None, None, None, channels], dtype, name="pictures")],
            autograph=False,
        )
        def signature(pictures):
            return {name: classifier.answers(classifier.fitted(pictures))[answer]}

        return signature

    module = tf.Module()
    module.held = classifier.held
    module.names = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(text),
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
        ),
        "",
    )

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def predict_bytes(image_bytes):
        place, pictures, reasons = _decoded(image_bytes, classifier, webp)
        scores, indices = tf.math.top_k(classifier.answers(pictures)[0], top)
        shape = [tf.size(image_bytes), top]
        place = place[:, None]
        indices = tf.tensor_scatter_nd_update(tf.fill(shape, -1), place, indices)
        return {
            "classes": module.names.lookup(tf.cast(indices, tf.int64)),
            "scores": tf.scatter_nd(place, scores, shape),
            "indices": indices,
            "valid": tf.equal(reasons, _VALID),
            "reason": tf.gather(tf.constant(REASONS), reasons),
        }

    signatures = {
        "serving_default": on(tf.uint8, "probabilities", 0),
        "serving_float": on(tf.float32, "probabilities", 0),
        "features": on(tf.uint8, "features", 1),
        "predict_bytes": predict_bytes,
    }
    tf.saved_model.save(module, str(folder), signatures)


def _decoded(encoded, classifier, webp):
    """What becomes of files, string [N].

    An operation that fails stops a graph, but for tf.data's, which leave the element out: what is missing in the end
    could not be decoded. No autotuning: it rounds the life of an iterator up to 70, 310, 630 ms...

    Returns:
        Places int32 [M] of the valid ones, their pictures float32 [M,size,size,C], and the index in `REASONS` of each
        file, int32 [N].
    """
    import tensorflow as tf

    count = tf.size(encoded)
    blank = tf.zeros(classifier.shape, tf.uint8)

    def decode(place, file):
        reason, picture = _decode(file, classifier.shape[-1], webp, classifier.view, blank)
        return place, reason, tf.ensure_shape(picture, classifier.shape)

    found = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
    found = found.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    found = found.ignore_errors()
    last = tf.data.Dataset.from_tensors((count, tf.constant(_UNDECODABLE), blank))  # never none
    found = found.concatenate(last).batch(tf.cast(count, tf.int64) + 1)
    options = tf.data.Options()
    options.autotune.enabled = False
    places, reasons, pictures = found.with_options(options).get_single_element()
    valid = tf.equal(reasons, _VALID)
    reasons = tf.tensor_scatter_nd_update(
        tf.fill([count], _UNDECODABLE), places[:-1, None], reasons[:-1]
    )
    pictures = tf.cast(tf.boolean_mask(pictures, valid), tf.float32)
    return tf.boolean_mask(places, valid), pictures, reasons


def _decode(file, channels, webp, view, blank):
    """(index in `REASONS`, what the network is shown) of one file; fails where it cannot be decoded.

    Nothing is decoded before its header says how large it is.
    """
    import tensorflow as tf

    def jpeg():
        height, width = tf.unstack(tf.io.extract_jpeg_shape(file, tf.int32)[:2])
        return within(
            height,
            width,
            lambda: tf.io.decode_jpeg(file, channels, dct_method="INTEGER_ACCURATE"),
            _scans(file),
        )

    def png():
        width, height = tf.unstack(_numbers(file, 16, 2, tf.int32, little_endian=False))
        return within(height, width, lambda: tf.io.decode_png(file, channels))

    def webp_picture():
        def pixels():  # of one frame; transparency is dropped
            colours = tf.io.decode_webp(_webp_alone(file))[0, ..., :3]
            return tf.image.rgb_to_grayscale(colours) if channels == 1 else colours

        return within(*_webp_size(file), pixels)

    def within(height, width, pixels, scans=1):
        """As `data.images.decode` refuses what is too large."""

        def seen():
            return _VALID, view(tf.ensure_shape(pixels(), [None, None, channels]))

        count = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
        held = images.PIXELS_PER_BYTE * tf.cast(tf.strings.length(file), tf.int64)
        most = tf.minimum(tf.cast(images.MAX_PIXELS, tf.int64), images.FREE_PIXELS + held)
        too_large = (count > most) | (count * scans > images.MAX_SCANNED_PIXELS)
        return tf.cond(too_large, lambda: (_TOO_LARGE, blank), seen)

    head = tf.strings.substr(file, 0, 12) + b"\0" * 12  # a substring must begin within

    def begins(text, first=0):
        return tf.equal(tf.strings.substr(head, first, len(text)), text)

    cases = [
        (tf.equal(tf.strings.length(file), 0), lambda: (_EMPTY, blank)),
        (begins(b"\xff\xd8\xff"), jpeg),
        (begins(b"\x89PNG\r\n\x1a\n"), png),
    ]
    if webp:
        cases.append((begins(b"RIFF") & begins(b"WEBP", 8), webp_picture))
    return tf.case(cases, default=lambda: (_UNKNOWN, blank))


def _numbers(file, first, count, dtype, little_endian=True):
    import tensorflow as tf

    piece = tf.strings.substr(file, first, count * dtype.size)
    return tf.ensure_shape(tf.io.decode_raw(piece, dtype, little_endian=little_endian), [count])


def _scans(file):
    """How many scans a JPEG has at most, int64."""
    import tensorflow as tf

    content = tf.io.decode_raw(file, tf.uint8)
    return tf.math.count_nonzero((content[:-1] == 0xFF) & (content[1:] == 0xDA))


def _webp_alone(file):
    """A WebP file that ends with its picture's chunk: TensorFlow would read on where that is too short."""
    import tensorflow as tf

    def size(place):
        return tf.cast(_numbers(file, place + 4, 1, tf.int32)[0], tf.int64)

    def other(place):
        name = tf.strings.substr(file, place, 4)
        return (name != b"VP8 ") & (name != b"VP8L")

    def following(place):
        return [place + 8 + size(place) + size(place) % 2]

    zero = tf.constant(0, tf.int64)
    picture = tf.while_loop(other, following, [zero + 12], maximum_iterations=64)[0]
    end = picture + 8 + size(picture)
    said = 8 + size(zero)  # of the whole file
    whole = [
        tf.debugging.assert_less_equal(end, said),
        tf.debugging.assert_less_equal(said, tf.cast(tf.strings.length(file), tf.int64)),
    ]
    with tf.control_dependencies(whole):
        chunks = tf.strings.substr(file, zero + 12, end - 12)
    chunks += tf.cond(tf.equal(end % 2, 0), lambda: b"", lambda: b"\0")
    length = tf.bitcast(4 + tf.strings.length(chunks), tf.uint8)
    letters = tf.gather(tf.constant([bytes([i]) for i in range(256)]), tf.cast(length, tf.int32))
    return b"RIFF" + tf.strings.reduce_join(letters) + b"WEBP" + chunks


def _webp_size(file):
    """Height and width, int64, of a WebP file: of its canvas (VP8X), or in the header of its one picture."""
    import tensorflow as tf

    def at(first, dtype=tf.uint8):
        return tf.cast(_numbers(file, first, 1, dtype)[0], tf.int64)

    def extended():  # 24 bits each, less 1
        still = tf.debugging.assert_equal(at(20) // 2 % 2, tf.constant(0, tf.int64))
        with tf.control_dependencies([still]):  # an animation's frames would all be decoded
            return canvas()

    def canvas():
        width = at(24) + at(25) * 256 + at(26) * 65536
        height = at(27) + at(28) * 256 + at(29) * 65536
        return height + 1, width + 1

    def lossless():  # 14 bits each, less 1
        bits = at(21) + at(22) * 2**8 + at(23) * 2**16 + at(24) * 2**24
        return bits // 2**14 % 2**14 + 1, bits % 2**14 + 1

    def lossy():
        return at(28, tf.uint16) % 2**14, at(26, tf.uint16) % 2**14

    kind = tf.strings.substr(file, 12, 4)
    return tf.case(
        [(tf.equal(kind, b"VP8X"), extended), (tf.equal(kind, b"VP8L"), lossless)], default=lossy
    )
