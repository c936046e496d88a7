"""Writes keras_resnet/support/imagenet_classes.txt: the 1,000 classes of ImageNet-1k in the order of their index.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet
    python tools/imagenet_classes.py wordnet/usr/share/wordnet/data.noun

The wnids are those that tensorflow-datasets packages for imagenet2012, sorted, which is the order of the
index; a wnid is "n" and an offset into WordNet 3.0's data.noun, and the name is the first word of the
synset at that offset. The output opens with WordNet's notice, as its licence asks.
"""

import pathlib
import sys

import tensorflow_datasets as tfds

from keras_resnet.support import files

OUTPUT = pathlib.Path(__file__).parents[1] / "keras_resnet/support/imagenet_classes.txt"
WNIDS = pathlib.Path(tfds.__file__).parent / "datasets/imagenet2012/labels.txt"


def first_words(data_noun):
    """Bytes of data.noun -> (notice lines, {offset: first word of the synset})."""
    notice, words = [], {}
    for line in data_noun.decode("ascii").splitlines():
        if line.startswith("  "):
            notice.append(line.split(maxsplit=1)[1:])
        else:
            fields = line.split()  # offset, file number, type, number of words, first word, ...
            words[fields[0]] = fields[4]
    return ["".join(text).rstrip() for text in notice], words


def main(path):
    notice, words = first_words(pathlib.Path(path).read_bytes())
    wnids = sorted(WNIDS.read_text("ascii").split())
    lines = [
        "# ImageNet-1k: wnid and first word of its WordNet 3.0 synset, in the order of the class index.",
        "# Written by tools/imagenet_classes.py. The words are WordNet's, under this notice:",
        "#",
        *(f"# {text}".rstrip() for text in notice),
        *(f"{wnid}\t{words[wnid[1:]]}" for wnid in wnids),
    ]
    files.write(OUTPUT, "\n".join(lines) + "\n")
    print(f"{OUTPUT.name}: {len(wnids)} classes")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit("Usage: python tools/imagenet_classes.py PATH/TO/data.noun")
    main(sys.argv[1])
