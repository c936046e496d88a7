"""Grad-CAM as a part of an export's graph: see `evaluation.grad_cam`."""

from typing import TYPE_CHECKING

import keras

from keras_resnet.networks.flat import flat, result
from keras_resnet.networks.pyramids import feature_extractor
from keras_resnet.serving import decoding

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_resnet.serving import export


def last_maps(model: keras.Model) -> keras.KerasTensor | None:
    """What leaves the last stage, [B,h,w,C]; None where the layers' names tell no stages."""
    model = flat(model)
    try:
        *_, last = feature_extractor(model).pyramid_level_inputs.values()
    except ValueError:
        return None
    return result(model, model.get_layer(last))


def signature(
    classifier: "export._Classifier", names: "tf.lookup.StaticHashTable", webp: bool
) -> "tf.Function":
    """`explain_bytes` of `export.save`.

    Args:
        classifier: of `export`, one that has maps.
        names: int64 index -> class.
        webp: see `export.save`.
    """
    import tensorflow as tf

    def explained(pictures, asked):
        """Of float32 [M,size,size,C], M from 1 on, and int32 [M], -1 for the best: heat, index, score."""
        probabilities, features, maps = classifier.called(pictures)
        indices = tf.where(asked < 0, tf.argmax(probabilities, -1, tf.int32), asked)
        kernels = tf.transpose(tf.gather(classifier.kernel, indices, axis=1))
        logits = tf.reduce_sum(tf.cast(features, tf.float32) * kernels, -1)  # but for the bias
        [gradients] = tf.gradients(logits, maps)
        weights = tf.reduce_mean(tf.cast(gradients, tf.float32), (1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), -1))
        return heat, indices, tf.gather(probabilities, indices, batch_dims=1)

    def checked(image_bytes, class_index):
        classes = classifier.classes
        return [
            tf.debugging.assert_equal(
                tf.size(class_index), tf.size(image_bytes), "class_index is one for each picture."
            ),
            tf.debugging.Assert(
                tf.reduce_all((class_index >= -1) & (class_index < classes)),
                [f"class_index is 0 to {classes - 1}, or -1 for the best class."],
            ),
        ]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.int32, name="class_index"),
        ],
        autograph=False,
    )
    def explain_bytes(image_bytes, class_index):
        with tf.control_dependencies(checked(image_bytes, class_index)):
            count = tf.size(image_bytes)
        place, pictures, reasons = decoding.decode_batch(
            image_bytes, classifier.shape, classifier.view, webp
        )
        files = tf.map_fn(
            tf.io.encode_png, tf.cast(pictures, tf.uint8), fn_output_signature=tf.string
        )
        # TensorFlow's fused convolutions take no empty batch
        none = tf.equal(tf.size(place), 0)
        some = tf.cond(none, lambda: tf.zeros([1, *classifier.shape]), lambda: pictures)
        asked = tf.cond(none, lambda: tf.constant([0]), lambda: tf.gather(class_index, place))
        found = explained(tf.ensure_shape(some, pictures.shape), tf.ensure_shape(asked, [None]))
        heat, indices, scores = (each[: tf.size(place)] for each in found)
        at = place[:, None]
        indices = tf.tensor_scatter_nd_update(tf.fill([count], -1), at, indices)
        return {
            "heat": tf.scatter_nd(at, heat, [count, *heat.shape[1:]]),
            "picture_bytes": tf.tensor_scatter_nd_update(tf.fill([count], ""), at, files),
            "classes": names.lookup(tf.cast(indices, tf.int64)),
            "scores": tf.scatter_nd(at, scores, [count]),
            "indices": indices,
            "valid": tf.equal(reasons, decoding.VALID),
            "reason": tf.gather(tf.constant(decoding.REASONS), reasons),
        }

    return explain_bytes
