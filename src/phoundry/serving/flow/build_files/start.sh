#!/bin/sh
# Serves the flow in this folder. HOST and PORT say where; on another address than loopback every
# request must carry the key in $key.
set -eu
cd "$$(dirname "$$0")"
export PHOUNDRY_HOME="$${PHOUNDRY_HOME:-$$PWD/.phoundry}"
exec "$${PYTHON:-python}" -m phoundry flow serve $arguments \
    --host "$${HOST:-127.0.0.1}" --port "$${PORT:-8080}" "$$@"
