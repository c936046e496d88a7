"""A trained detector -> a SavedModel that answers pictures' files with boxes in their pixels.

Decoding, the canvas, the network, the scores and the choice among overlapping boxes are one graph, as the recipe
evaluates it; the thresholds that validation chose are constants in it.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnet.data import canvas as canvases
from keras_resnet.networks.layers import building
from keras_resnet.serving import decoding, graphs
from keras_resnet.serving.fold import fold
from keras_resnet.serving.versions import publish
from keras_resnet.tasks import detected, detection

if TYPE_CHECKING:
    import tensorflow as tf


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    thresholds: detected.Thresholds,
) -> pathlib.Path:
    """Writes the next version of a served model, whole or not at all.

    Signatures, each with N from 0 on; of a picture's `detected.MOST` places those from its "count" on are empty (0, and
    "" or -1 for the class), and the others have the surest box first:

    - serving_default: "pictures" uint8 [N,H,W,3], of any one size -> "boxes" float32 [N,100,4], left, top, right and
      bottom in these pixels; "scores" float32 and "indices" int32 [N,100]; "count" int32 [N].
    - predict_bytes: "image_bytes" string [N], JPEG or PNG files of any sizes -> the same, in each file's pixels, and
      "classes" string [N,100]; "valid" bool and "reason" string [N], one of `decoding.REASONS`. A bad picture leaves
      the others alone and has no boxes. EXIF orientation is not applied (see `data.images.decode`).

    Args:
        model: as `detection.network` makes it.
        path: local folder of the model; the version is a folder in it, 1 or the next number.
        class_names: in the order of the index.
        thresholds: above which score a box counts, and which ones overlap.

    Returns:
        The version's folder.

    Raises:
        ValueError: the model is no detector; names or thresholds do not fit it; a weight is not finite; `path` is a
            file or behind a URL.
        OSError: the folder cannot be written; nothing is left of it.
    """
    levels = detection.levels(model)
    if not isinstance(model.output, dict) or {*model.output} != {"classes", "boxes", "centers"}:
        raise ValueError(f"{model.name} is no detector: it has not its three outputs.")
    names = graphs.names_of(class_names, model.output["classes"].shape[-1])
    if not all(0 <= value <= 1 for value in thresholds):
        raise ValueError(f"A score and an overlap are between 0 and 1; got {tuple(thresholds)}.")
    with building():
        folded = fold(model)
    return publish(path, lambda folder: _write(folded, levels, names, thresholds, folder))


def _write(model, levels, names, thresholds, folder):
    import tensorflow as tf

    canvas = tuple(model.input_shape[1:3])
    module = tf.Module()
    module.held, call = graphs.held(model)
    labels = tf.constant(names)
    view = canvases.view(canvas)

    def answers(pictures, sizes):
        """(boxes, scores, indices, count) of float32 [N,h,w,3] on the canvas and int32 [N,2], height and width."""
        count = tf.shape(pictures)[0]
        none = tf.equal(count, 0)
        some = tf.cond(none, lambda: tf.zeros([1, *canvas, 3]), lambda: pictures)
        sizes = tf.cond(none, lambda: tf.constant([canvas]), lambda: sizes)
        found = call(tf.ensure_shape(some, [None, *canvas, 3]))
        every = chosen(found, levels, tf.ensure_shape(sizes, [None, 2]), canvas, thresholds)
        return [each[:count] for each in every]

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="pictures")],
        autograph=False,
    )
    def serving_default(pictures):
        size = tf.shape(pictures)[1:3]
        fitted = tf.map_fn(
            view, pictures, fn_output_signature=tf.TensorSpec([*canvas, 3], tf.uint8)
        )
        sizes = tf.tile(size[None], [tf.shape(pictures)[0], 1])
        found = answers(tf.cast(fitted, tf.float32), sizes)
        return dict(zip(("boxes", "scores", "indices", "count"), found, strict=True))

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def predict_bytes(image_bytes):
        places, pictures, reasons, sizes = decoding.decode_files(image_bytes, (*canvas, 3), view)
        boxes, scores, indices, count = answers(pictures, sizes)
        at, total = places[:, None], tf.size(image_bytes)
        indices = tf.tensor_scatter_nd_update(tf.fill([total, detected.MOST], -1), at, indices)
        return {
            "boxes": tf.scatter_nd(at, boxes, [total, detected.MOST, 4]),
            "scores": tf.scatter_nd(at, scores, [total, detected.MOST]),
            "classes": tf.where(indices < 0, "", tf.gather(labels, tf.maximum(indices, 0))),
            "indices": indices,
            "count": tf.scatter_nd(at, count, [total]),
            "valid": tf.equal(reasons, decoding.VALID),
            "reason": tf.gather(tf.constant(decoding.REASONS), reasons),
        }

    signatures = {"serving_default": serving_default, "predict_bytes": predict_bytes}
    tf.saved_model.save(module, str(folder), signatures)


def chosen(
    outputs: dict[str, "tf.Tensor"],
    levels: Sequence[detection.Level],
    sizes: "tf.Tensor",
    canvas: tuple[int, int],
    thresholds: detected.Thresholds,
) -> tuple["tf.Tensor", "tf.Tensor", "tf.Tensor", "tf.Tensor"]:
    """`detected.decode`, in the pictures' pixels, and `detected.best`, as a graph.

    Args:
        outputs: of a detector, of B pictures on the canvas.
        levels: of it.
        sizes: int32 [B,2], heights and widths of these pictures.
        canvas: height and width.
        thresholds: constants.

    Returns:
        Boxes float32 [B,100,4], left, top, right, bottom; scores float32 [B,100]; indices int32 [B,100], -1 where there
        is no box; count int32 [B].
    """
    import tensorflow as tf

    places, strides = detection.positions(levels)
    away = outputs["boxes"] * strides[:, None]
    boxes = tf.concat([places - away[..., :2], places + away[..., 2:]], -1)
    # As `augment.boxes.Scene.scale`: of the rounded extent, down and right.
    scale = tf.cast(canvases.extent(sizes, canvas), tf.float64) / tf.cast(sizes, tf.float64)
    four = tf.tile(scale[:, None, ::-1], [1, 1, 2])
    most = tf.tile(tf.cast(sizes, tf.float64)[:, None, ::-1], [1, 1, 2])
    boxes = tf.cast(tf.clip_by_value(tf.cast(boxes, tf.float64) / four, 0.0, most), tf.float32)
    scores = tf.sqrt(tf.sigmoid(outputs["classes"]) * tf.sigmoid(outputs["centers"]))
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None],
        scores,
        max_output_size_per_class=detected.MOST,
        max_total_size=detected.MOST,
        iou_threshold=thresholds.overlap,
        score_threshold=float(np.float32(thresholds.score)),
        clip_boxes=False,
    )
    empty = tf.range(detected.MOST) >= found.valid_detections[:, None]
    indices = tf.where(empty, -1, tf.cast(found.nmsed_classes, tf.int32))
    return found.nmsed_boxes, found.nmsed_scores, indices, found.valid_detections
