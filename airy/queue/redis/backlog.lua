-- Returns per webhook: jobs, leases, the time of the oldest of those read, or '', and when the next retry is due, or ''.
-- ARGV: now, how many heads are read from each end, then the webhooks. Prefixes: it has no effects.
local now, most, answer = ARGV[1], tonumber(ARGV[2]), {}

local function oldest_of(hook)
  local first, at
  local function look(seqs)
    for _, seq in ipairs(seqs) do
      if #seq > SEQ then -- replayed: its time is older than its position
        local fields = entry_of(seq)
        if fields and (not at or tonumber(fields[4]) < tonumber(at)) then
          at = fields[4]
        end
      elseif not first or seq < first then
        first = seq
      end
    end
  end
  look(redis.call('ZRANGE', of('heads', hook), 0, most - 1))
  look(redis.call('ZRANGE', of('heads', hook), -most, -1))
  look(redis.call('ZRANGE', of('leases', hook), 0, most - 1))
  local fields = first and entry_of(first)
  if fields and (not at or tonumber(fields[4]) < tonumber(at)) then
    at = fields[4]
  end
  return at or ''
end

for i = 3, #ARGV do
  local hook = ARGV[i]
  local retried = redis.call('ZRANGEBYSCORE', of('heads', hook), '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  answer[#answer + 1] = redis.call('ZCARD', of('wait', hook))
  answer[#answer + 1] = redis.call('ZCARD', of('leases', hook))
  answer[#answer + 1] = oldest_of(hook)
  answer[#answer + 1] = retried[2] or ''
end
return answer
