"""Real servers on loopback, for tests, for `make kafka` and for CI: Apache Kafka, Redis, and a small front.

No containers: a bare machine with Java, Maven and Debian's `redis-server` is enough. A port stays reserved for as long
as its server object exists, and a server ends with the process that started it.
"""
