-- Deletes some jobs of a webhook; returns how many, and whether there are more. ARGV: webhook, now, maximum.
-- Prefixes: jobs are deleted one after the other. A lane that lost its head gets the next one when the call is
-- repeated, or from `oldest`, which also deletes an entry that should have left the stream. Nothing is copied here: if a copy and
-- a drop were torn together and came back, an entry would be deleted before its jobs are copied once more.
local hook, now = ARGV[1], ARGV[2]
local some = redis.call('ZRANGE', of('wait', hook), 0, tonumber(ARGV[3]) - 1)
local lane
for _, this in ipairs(some) do
  local seq
  lane, seq = string.match(this, '^([^%z]*)%z(.*)$')
  local fields = entry_of(seq)
  redis.call('ZREM', of('wait', hook), this)
  redis.call('ZREM', of('heads', hook), seq)
  if fields then
    delete_entry(seq, fields)
  end
  redis.call('HDEL', of('tries', hook), seq)
  redis.call('ZREM', of('leases', hook), seq)
end
if lane then
  promote(hook, lane, now)
end
if redis.call('ZCARD', of('wait', hook)) == 0 then
  redis.call('DEL', of('heads', hook), of('tries', hook), of('leases', hook))
  redis.call('SREM', hooks_key, hook)
  return { #some, 0 }
end
return { #some, 1 }
