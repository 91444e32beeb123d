#!/bin/sh -e
exec env KAFKA_HEAP_OPTS=-Xmx64m /opt/kafka/bin/kafka-run-class.sh \
  org.apache.kafka.tools.BrokerApiVersionsCommand "$@"
