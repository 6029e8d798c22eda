-- A dead delivery becomes a job behind what waits in its lane. ARGV: job id, webhook, lane, time, content, now.
-- Prefixes: it is a job before it is not dead any more, so a torn replay can be asked for again and delivers twice at
-- most; `replayed` leads `oldest` to what is there in part. A number may come back and be given twice: so the position
-- has the job's name in it, too.
if redis.call('HEXISTS', base .. ':dead', ARGV[1]) == 0 then
  return 0
end
local hook, lane, at = ARGV[2], ARGV[3], ARGV[4]
local number = string.format('%010d', redis.call('INCR', base .. ':replay'))
local seq = padded(last_id()) .. '~' .. number .. '~' .. redis.sha1hex(ARGV[1])
local fields = { 't', '0', 'a', at, 'l', lane, 'b', ARGV[5], 'w', hook }
redis.call('HSET', base .. ':replays', seq, cmsgpack.pack(fields))
redis.call('ZADD', base .. ':replayed', at, seq)
redis.call('SADD', hooks_key, hook)
redis.call('ZADD', of('wait', hook), 0, member(fields, seq))
promote(hook, lane, ARGV[6])
redis.call('HDEL', base .. ':dead', ARGV[1])
redis.call('ZREM', base .. ':graves', ARGV[1])
return 1
