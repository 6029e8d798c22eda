-- What workers report; per report whether its lease held. ARGV: now, then five per report: verb, webhook, position,
-- token, due time.
-- Prefixes: a report before another is complete before it begins. done, bury: those of `remove`. retry, release: without
-- its token the job is nobody's, and is a head again now or when the lease runs out.
local now, answer = ARGV[1], {}

local function back(hook, seq, attempt, first_at, due)
  redis.call('HSET', of('tries', hook), seq, attempt .. ' ' .. first_at .. ' ' .. due .. ' -')
  redis.call('ZADD', of('heads', hook), due, seq)
  redis.call('ZREM', of('leases', hook), seq)
end

for i = 2, #ARGV, 5 do
  local verb, hook, seq, token = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local try = redis.call('HGET', of('tries', hook), seq)
  local attempt, first_at, due, held = string.match(try or '', '^(%S+) (%S+) (%S+) (%S+)$')
  local valid = held == token
  if valid then
    if verb == 'retry' then
      back(hook, seq, attempt, first_at, ARGV[i + 4])
    elseif verb == 'release' then
      back(hook, seq, tonumber(attempt) - 1, first_at, due)
    else
      remove(hook, seq, entry_of(seq), now)
    end
  end
  answer[#answer + 1] = valid and 1 or 0
end
return answer
