-- A delivery that was buried becomes a job behind what waits in its lane; 0 if it is one already.
-- ARGV: job id, webhook, lane, time, content, now.
-- Prefixes: `replaying` leads to nothing until the rest is there, so a torn replay can be asked for again, and delivers
-- twice at most; `replayed` leads `oldest` to what is there in part. A number may come back and be given twice: so the
-- position has the job's name in it, too.
local job, hook, lane, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local known = redis.call('HGET', base .. ':replaying', job)
local there = known and entry_of(known)
if there and redis.call('ZSCORE', of('wait', hook), member(there, known)) then
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
