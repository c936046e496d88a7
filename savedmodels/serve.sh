#!/bin/sh
# TF Serving's official image with this folder's configuration: REST on 8501, gRPC on 8500.
#   savedmodels/serve.sh [FOLDER]     FOLDER holds resnet50/1, resnet50/2 ...; default: this one
# --model_config_file takes the place of the image's own model name and path.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
models=$(cd "${1:-$here}" && pwd)
if [ ! -d "$models/resnet50/1" ]; then
  echo "serve.sh: $models/resnet50/1 is not there: write it by savedmodels/export.py." >&2
  exit 2
fi
exec docker run --rm --init --name resnet50 \
  --env TF_ENABLE_ONEDNN_OPTS=1 --env TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1 \
  --publish 127.0.0.1:8500:8500 --publish 127.0.0.1:8501:8501 \
  --volume "$models/resnet50:/models/resnet50:ro" \
  --volume "$here/models.config:/config/models.config:ro" \
  --volume "$here/batching.config:/config/batching.config:ro" \
  --volume "$here/monitoring.config:/config/monitoring.config:ro" \
  "${TF_SERVING_IMAGE:-tensorflow/serving:2.20.0}" \
  --model_config_file=/config/models.config \
  --allow_version_labels_for_unavailable_models=true \
  --model_config_file_poll_wait_seconds=60 \
  --enable_batching=true \
  --batching_parameters_file=/config/batching.config \
  --monitoring_config_file=/config/monitoring.config \
  --enable_model_warmup=true
