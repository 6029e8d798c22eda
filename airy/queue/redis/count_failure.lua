-- Counts a failure of a webhook. KEYS[1]: the hash of its failures; ARGV: start of the streak, if it is the first.
-- Prefixes: a streak with a start and no count is not reported.
redis.call('HSETNX', KEYS[1], 'since', ARGV[1])
return redis.call('HINCRBY', KEYS[1], 'attempts', 1)
