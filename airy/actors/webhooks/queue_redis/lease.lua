-- Lease the oldest due heads. ARGV: now, until, token, how many, then per webhook its name and how many at most.
-- Prefixes, per job: counted and with a token that nobody knows, it is a head still; leased as well, it is handed out
-- again at once or after the lease. So a torn lease repeats a delivery at most.
local now, till, token, left = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local hooks, found = {}, {}

-- A webhook's next due head becomes its `due` and `seq`; heads are read a few at a time
local share = math.ceil(left / math.max(1, (#ARGV - 4) / 2)) + 2
local function advance(hook)
  hook.place = hook.place + 2
  if hook.place > #hook.heads then
    local some = math.min(share, hook.room - hook.read)
    hook.heads = some > 0
        and redis.call('ZRANGEBYSCORE', of('heads', hook.name), '-inf', now, 'WITHSCORES', 'LIMIT', hook.read, some)
      or {}
    hook.read = hook.read + some
    hook.place = 1
  end
  hook.seq = hook.heads[hook.place]
  hook.due = tonumber(hook.heads[hook.place + 1])
end

for i = 5, #ARGV, 2 do
  local hook = { name = ARGV[i], room = math.min(left, tonumber(ARGV[i + 1])), read = 0, heads = {}, place = -1 }
  advance(hook)
  hooks[#hooks + 1] = hook
end
while #found < left do
  local first
  for _, hook in ipairs(hooks) do
    if hook.seq and (not first or hook.due < first.due or (hook.due == first.due and hook.seq < first.seq)) then
      first = hook
    end
  end
  if not first then
    break
  end
  found[#found + 1] = { first.seq, first.name, first.heads[first.place + 1] }
  advance(first)
end
local answer = {}
for _, head in ipairs(found) do
  local seq, hook, due = head[1], head[2], head[3]
  local fields = entry_of(seq)
  if fields and redis.call('ZSCORE', of('wait', hook), member(fields, seq)) then
    local attempt, first_at = 1, now
    local try = redis.call('HGET', of('tries', hook), seq)
    if try then
      local tried, first = string.match(try, '^(%S+) (%S+)')
      attempt, first_at = tonumber(tried) + 1, first
    end
    redis.call('HSET', of('tries', hook), seq, attempt .. ' ' .. first_at .. ' ' .. due .. ' ' .. token)
    redis.call('ZADD', of('leases', hook), till, seq)
    redis.call('ZREM', of('heads', hook), seq)
    for _, value in ipairs({ seq, hook, attempt, first_at, fields[8] }) do
      answer[#answer + 1] = value
    end
  else
    remove(hook, seq, fields, now)
  end
end
return answer
