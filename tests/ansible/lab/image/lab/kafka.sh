#!/bin/sh
# Stands in for a broker: a port that is open.
exec httpd -f -p 9092 -h /www
