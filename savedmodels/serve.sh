#!/bin/sh
# TF Serving's official image with this folder's configuration: REST on 8501, gRPC on 8500.
#   savedmodels/serve.sh [FOLDER]     FOLDER holds resnet50/1, resnet50/2 ...; default: this one
# --model_config_file takes the place of the image's model name and path.
set -eu

folder() {  # its whole path; not looked for in CDPATH, nor taken for an option or the folder before
  case $1 in /*) CDPATH='' cd "$1" ;; *) CDPATH='' cd "./$1" ;; esac && pwd
}

mount() {  # what --mount takes for a path of any letters: comma-separated values, of which one is quoted
  printf 'type=bind,"source=%s",target=%s,readonly' "$(printf %s "$1" | sed 's/"/""/g')" "$2"
}

here=$(folder "$(dirname -- "$0")")
models=$here
if [ $# -gt 0 ]; then
  models=$(folder "$1" 2>/dev/null) || { echo "serve.sh: there is no folder $1." >&2; exit 2; }
fi
set -- "$models"/resnet50/[0-9]*/saved_model.pb
if [ ! -f "$1" ]; then
  echo "serve.sh: $models/resnet50/1 is not there: write it by savedmodels/export.py." >&2
  exit 2
fi
if ! command -v docker >/dev/null; then
  echo "serve.sh: docker is not installed: install it, or use savedmodels/local_server.py." >&2
  exit 2
fi
exec docker run --rm --init \
  --env TF_ENABLE_ONEDNN_OPTS=1 --env TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1 \
  --publish 127.0.0.1:8500:8500 --publish 127.0.0.1:8501:8501 \
  --mount "$(mount "$models/resnet50" /models/resnet50)" \
  --mount "$(mount "$here/models.config" /config/models.config)" \
  --mount "$(mount "$here/batching.config" /config/batching.config)" \
  --mount "$(mount "$here/monitoring.config" /config/monitoring.config)" \
  "${TF_SERVING_IMAGE:-tensorflow/serving:2.20.0}" \
  --model_config_file=/config/models.config \
  --allow_version_labels_for_unavailable_models=true \
  --model_config_file_poll_wait_seconds=60 \
  --enable_batching=true \
  --batching_parameters_file=/config/batching.config \
  --monitoring_config_file=/config/monitoring.config \
  --enable_model_warmup=true
