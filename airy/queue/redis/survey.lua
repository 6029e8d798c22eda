-- Returns whether there are more entries to copy; then, per webhook, its id, its leases and its due heads.
-- ARGV: now, time of the previous claim. Prefixes: see `copy` and `expire`, one after the other.
local more = copy(ARGV[2])
local answer = { more and 1 or 0 }
for _, hook in ipairs(redis.call('SMEMBERS', hooks_key)) do
  expire(hook, ARGV[1])
  local leased = redis.call('ZCARD', of('leases', hook))
  local due = redis.call('ZCOUNT', of('heads', hook), '-inf', ARGV[1])
  if leased + due > 0 then
    answer[#answer + 1] = hook
    answer[#answer + 1] = leased
    answer[#answer + 1] = due
  end
end
return answer
