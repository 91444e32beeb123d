#!/bin/sh -e
exec /opt/kafka/bin/kafka-run-class.sh kafka.admin.ConfigCommand "$@"
