-- Brings leases and due times back that lie further ahead than they can: the clock was set back. A head that was never
-- attempted, or whose lease ended without an outcome, is due now; one that is retried not later than its delay from now. Heads that were not changed here may be
-- read again. ARGV: now, milliseconds of a lease, then where to resume: webhook and rank, or ''.
-- Returns where to resume, or nothing. Prefixes: each effect is about one job.
local now, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
local hooks = redis.call('SMEMBERS', hooks_key)
table.sort(hooks)
for _, hook in ipairs(hooks) do
  if hook >= ARGV[3] then
    for _, seq in ipairs(redis.call('ZRANGEBYSCORE', of('leases', hook), '(' .. now + lease, '+inf')) do
      redis.call('ZADD', of('leases', hook), now + lease, seq)
    end
    local stop = hook == ARGV[3] and tonumber(ARGV[4]) or redis.call('ZCARD', of('heads', hook)) - 1
    local start, moved = math.max(0, stop - 499), 0
    local page = stop >= 0 and redis.call('ZRANGE', of('heads', hook), start, stop, 'WITHSCORES') or {}
    for i = 1, #page, 2 do
      local seq, due, delay = page[i], tonumber(page[i + 1]), 0
      if due > now then
        local try = redis.call('HGET', of('tries', hook), seq)
        if try then
          delay = tonumber(string.match(try, ' %-(%d+)$') or 0)
        end
        if due > now + delay then
          redis.call('ZADD', of('heads', hook), now + delay, seq)
          moved = moved + 1 -- to a lower rank, so that others moved up into this page
        end
      end
    end
    if start > 0 and tonumber(page[2]) > now then
      return { hook, start - 1 + moved }
    end
  end
end
return {}
