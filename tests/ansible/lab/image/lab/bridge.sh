#!/bin/sh
# Stands in for the bridge: ready, unless told to be broken; stops when it has drained.
trap 'exit 0' TERM
[ -n "$BRIDGE_BROKEN" ] || httpd -p 8080 -h /www
while :; do sleep 1 & wait $!; done
