#!/bin/sh
exec wget -q -O /dev/null http://127.0.0.1:9092/health/ready
