-- Leases the oldest due heads. ARGV: now, until, token, maximum, then per webhook its id and its maximum.
-- Prefixes, per job: with a counted attempt and a token that no dispatcher has received, it is still a head; with the
-- lease as well, it is leased again at once or after the lease. At worst a torn lease repeats a delivery.
local now, till, token, left = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local hooks, found = {}, {}

-- Sets `due` and `seq` of a webhook to its next due head; heads are read in pages
local share = math.ceil(left / math.max(1, (#ARGV - 4) / 2)) + 2
local function advance(hook)
  hook.index = hook.index + 2
  if hook.index > #hook.heads then
    local page = math.min(share, hook.limit - hook.read)
    hook.heads = page > 0
        and redis.call('ZRANGEBYSCORE', of('heads', hook.name), '-inf', now, 'WITHSCORES', 'LIMIT', hook.read, page)
      or {}
    hook.read = hook.read + page
    hook.index = 1
  end
  hook.seq = hook.heads[hook.index]
  hook.due = tonumber(hook.heads[hook.index + 1])
end

for i = 5, #ARGV, 2 do
  local hook = { name = ARGV[i], limit = math.min(left, tonumber(ARGV[i + 1])), read = 0, heads = {}, index = -1 }
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
  found[#found + 1] = { first.seq, first.name, first.heads[first.index + 1] }
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
