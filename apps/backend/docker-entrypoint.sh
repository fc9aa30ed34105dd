#!/bin/sh
# Starts one role: docker-entrypoint.sh <role>. Python owns the list of roles, checks the name and
# says on stderr what it starts; exec makes it PID 1, so that signals reach it directly.
set -eu
exec python -P -m infinite_scribe "$@"
