-- Forget the oldest dead. ARGV: the youngest grave that goes. Prefixes: content without a grave, or a grave without
-- content, is passed over and goes with the next call.
local base = KEYS[1]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. ':graves', '-inf', ARGV[1])) do
  redis.call('HDEL', base .. ':dead', id)
  redis.call('ZREM', base .. ':graves', id)
end
return 1
