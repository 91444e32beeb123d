#!/bin/sh -e
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xmx256m} -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError \
  ${KAFKA_LOG4J:+-Dlog4j2.configurationFile=$KAFKA_LOG4J} -cp '/opt/kafka/libs/*' "$@"
