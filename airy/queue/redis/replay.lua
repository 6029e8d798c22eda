-- Makes a dead delivery a job at the end of its lane; returns 0 if it is one already.
-- ARGV: job id, webhook, lane, time, content, now.
-- Prefixes: `replaying` points to nothing until the rest is written, so a torn replay can be requested again, and at
-- worst delivers twice; `replayed` leads `oldest` to what was written in part. A number may be issued twice, because a
-- torn script may come back: so the position contains the job's id, too.
local job, hook, lane, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local previous = redis.call('HGET', base .. ':replaying', job)
local fields_before = previous and entry_of(previous)
if fields_before and redis.call('ZSCORE', of('wait', hook), member(fields_before, previous)) then
  return 0
end
local number = string.format('%010d', redis.call('INCR', base .. ':replay'))
local seq = padded(last_id()) .. '~' .. number .. '~' .. redis.sha1hex(job)
local fields = { 't', '0', 'a', at, 'l', lane, 'b', ARGV[5], 'w', hook, 'j', job }
redis.call('HSET', base .. ':replaying', job, seq)
redis.call('HSET', base .. ':replays', seq, cmsgpack.pack(fields))
redis.call('ZADD', base .. ':replayed', at, seq)
redis.call('SADD', hooks_key, hook)
redis.call('ZADD', of('wait', hook), 0, member(fields, seq))
promote(hook, lane, ARGV[6])
return 1
