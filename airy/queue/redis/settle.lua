-- Applies the outcomes of jobs; returns per outcome whether its lease was held. ARGV: now, then six per outcome: verb,
-- webhook, position, token, due time, delay.
-- Prefixes: each outcome is complete before the next begins. complete, dead_letter: see `remove`. retry, release: once
-- its token is gone the job has no owner, and is a head again now or when the lease expires.
local now, answer = ARGV[1], {}

-- Without a token; a retry has its delay in the place of it, for `clamp`
local function make_head(hook, seq, attempt, first_at, due, delay)
  redis.call('HSET', of('tries', hook), seq, attempt .. ' ' .. first_at .. ' ' .. due .. ' -' .. (delay or ''))
  redis.call('ZADD', of('heads', hook), due, seq)
  redis.call('ZREM', of('leases', hook), seq)
end

for i = 2, #ARGV, 6 do
  local verb, hook, seq, token = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local try = redis.call('HGET', of('tries', hook), seq)
  local attempt, first_at, due, held = string.match(try or '', '^(%S+) (%S+) (%S+) (%S+)$')
  local holds = held == token
  if holds then
    if verb == 'retry' then
      make_head(hook, seq, attempt, first_at, ARGV[i + 4], ARGV[i + 5])
    elseif verb == 'release' then
      make_head(hook, seq, tonumber(attempt) - 1, first_at, earlier(due, now))
    else
      remove(hook, seq, entry_of(seq), now)
    end
  end
  answer[#answer + 1] = holds and 1 or 0
end
return answer
