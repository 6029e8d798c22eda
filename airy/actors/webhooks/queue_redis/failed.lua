-- One more failure of a webhook. KEYS[1] is the hash of its failures; ARGV: since when, if it is the first.
-- Prefixes: a failure that has a beginning and is not counted is not told.
redis.call('HSETNX', KEYS[1], 'since', ARGV[1])
return redis.call('HINCRBY', KEYS[1], 'attempts', 1)
