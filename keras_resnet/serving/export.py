"""A trained network -> a SavedModel that TF Serving loads: pictures or their files in, class names out.

What is served is what was evaluated: decoding, resize and crop (`data.views.center`), normalisation and network
are one graph, of operations that TensorFlow 2.20 has. The network is folded (`fold`); all signatures share its
weights, which are stored once.

The weights are variables. As constants, TensorFlow would lay them out for its convolutions once and not at each call,
but a session then takes 5 s of CPU to its first answer instead of 0.8, and 2.4 GB instead of 0.9. A server's
environment (`serving.ENVIRONMENT`) asks for the same, for as much memory again as the weights take.
"""

import errno
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Sequence

import keras

from keras_resnet.data import views
from keras_resnet.evaluation import scores
from keras_resnet.networks.layers import building
from keras_resnet.serving import decoding, explaining, graphs
from keras_resnet.serving.decoding import REASONS
from keras_resnet.serving.fold import fold
from keras_resnet.serving.versions import publish
from keras_resnet.support import errors, keras_private, labels


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str] | None = None,
    top: int | None = None,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str = "bilinear",
    precision: str = "float32",
    webp: bool = False,
    finish: Callable[[pathlib.Path], object] | None = None,
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
    - explain_bytes: "image_bytes" as above, "class_index" int32 [N], -1 for the best class -> "heat" [N,h,w], Grad-CAM
      as `evaluation.grad_cam` has it, of the last stage; "picture_bytes" string [N], a PNG of what the network saw,
      which the heat lies on; "classes" string, "scores" and "indices" int32, all [N], of the class; "valid" and
      "reason" as above. Left out where the layers' names tell no stages (`networks.pyramids`).

    Args:
        model: a classifier of pictures with 1 or 3 channels, ending in softmax or logits.
        path: local folder of the model; the version is a folder in it, 1 or the next number.
        class_names: in the order of the index, one line each; None for ImageNet-1k's 1,000 wnids.
        top: classes that predict_bytes names, 1 to K; None: 5, or all K where they are fewer.
        size: pixels, side of the crop; None takes the network's.
        resize: pixels, shorter side before the crop; None: `data.views.resize_for`.
        interpolation: of that resize, "bilinear" or "bicubic": that of evaluation.
        precision: of weights and computation: see `fold.fold`.
        webp: read WebP too, by an operation that TensorFlow has from 2.20 on; animations are undecodable.
        finish: called with the folder before it becomes the version: may add files to it.

    Returns:
        The version's folder.

    Raises:
        ValueError: one sentence: the model is no classifier of square pictures with 1 or 3 channels, in channels_last;
            `size` is not the network's; `class_names` are not as many as its classes, or not lines of text; `top` or
            `precision` is none of the above; a weight is not finite in that precision; `path` is a file or behind a
            URL.
        OSError: the folder cannot be written; nothing is left of it.
    """
    classifier = _Classifier(model, precision, size, resize, interpolation)
    names = names_for(class_names, classifier.classes)
    top = graphs.top_of(top, classifier.classes)

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
        ValueError: the model, its weights, `precision` or `size` are such as `save` refuses.
    """
    classifier = _Classifier(model, precision, size)
    return classifier.compute, classifier.shape, classifier.classes


def names_for(class_names: Sequence[str] | None, classes: int) -> list[str]:
    """The names of all classes; ImageNet-1k's where there are none and the classes are 1,000.

    Raises:
        ValueError: too few, too many, or one that is not a line of text.
    """
    if not class_names:
        if classes != 1000:
            raise ValueError(
                f"class_names are missing: the network has {classes} classes, and names are known for "
                "ImageNet's 1000 alone."
            )
        return list(labels.imagenet_classes())
    return graphs.names_of(class_names, classes)


def _cause(error):
    """What TensorFlow's error says, without the names of its operation and file around it."""
    line = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", errors.first_line(error))
    return line.rpartition("; ")[2].strip(" .")


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
            for layer in keras_private.layers(folded):
                if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1:
                    layer.convolution_op = _grouped(layer)
                    layer.use_bias = False
            dense = [layer for layer in folded.layers if isinstance(layer, keras.layers.Dense)][-1]
            maps = explaining.last_maps(folded)
            self.has_maps = maps is not None
            seen = [maps] if self.has_maps else []
            both = keras.Model(folded.inputs, [folded.outputs[0], dense.input, *seen])
        activation = folded.layers[-1].activation
        logits = activation is not keras.activations.softmax
        self.held, call = graphs.held(both)

        def called(pictures):
            answers = call(pictures)
            return tf.nn.softmax(answers[0]) if logits else answers[0], *answers[1:]

        def compute(pictures):
            probabilities, features, *_ = called(pictures)
            return probabilities, tf.cast(features, tf.float32)

        spec = tf.TensorSpec([None, *self.shape], tf.float32)
        self.compute = tf.function(compute, input_signature=[spec], autograph=False)
        ordered = [*both.trainable_variables, *both.non_trainable_variables]
        place = next(i for i, variable in enumerate(ordered) if variable is dense.kernel)
        self.kernel = [*self.held[0], *self.held[1]][place]
        self.called = called

    def answers(self, pictures):
        """`compute` for N from 0 on: TensorFlow's fused convolutions take no empty batch."""
        import tensorflow as tf

        count = tf.shape(pictures)[0]
        blank = tf.zeros([1, *self.shape])
        some = tf.cond(tf.equal(count, 0), lambda: blank, lambda: pictures)
        return [answer[:count] for answer in self.compute(tf.ensure_shape(some, pictures.shape))]

    def fitted(self, pictures):
        """[N,H,W,C] -> float32 [N,size,size,C], as the network reads them in evaluation."""
        import tensorflow as tf

        def seen():
            return tf.cast(tf.map_fn(self.view, pictures, fn_output_signature=tf.uint8), tf.float32)

        size = self.shape[0]
        fits = tf.reduce_all(tf.equal(tf.shape(pictures)[1:3], size))
        fitted = tf.cond(fits, lambda: tf.cast(pictures, tf.float32), seen)
        return tf.ensure_shape(fitted, [None, *self.shape])


def _grouped(layer):
    """Convolution in groups and bias, by TensorFlow's operations.

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
        place, pictures, reasons = decoding.decode_batch(
            image_bytes, classifier.shape, classifier.view, webp
        )
        scores, indices = tf.math.top_k(classifier.answers(pictures)[0], top)
        shape = [tf.size(image_bytes), top]
        place = place[:, None]
        indices = tf.tensor_scatter_nd_update(tf.fill(shape, -1), place, indices)
        return {
            "classes": module.names.lookup(tf.cast(indices, tf.int64)),
            "scores": tf.scatter_nd(place, scores, shape),
            "indices": indices,
            "valid": tf.equal(reasons, decoding.VALID),
            "reason": tf.gather(tf.constant(REASONS), reasons),
        }

    signatures = {
        "serving_default": on(tf.uint8, "probabilities", 0),
        "serving_float": on(tf.float32, "probabilities", 0),
        "features": on(tf.uint8, "features", 1),
        "predict_bytes": predict_bytes,
    }
    if classifier.has_maps:
        signatures["explain_bytes"] = explaining.signature(classifier, module.names, webp)
    tf.saved_model.save(module, str(folder), signatures)
