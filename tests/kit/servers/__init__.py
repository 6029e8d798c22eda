"""Real servers on loopback, for tests, for people (`make kafka`) and for CI: Apache Kafka, Redis, and a small front.

Not containers: a bare machine with Java, Maven and Debian's `redis-server` is enough. Every port is reserved for as
long as its server object lives, every server dies with the process that started it.
"""
