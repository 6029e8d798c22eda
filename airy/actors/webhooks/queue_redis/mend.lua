-- Every lane of a webhook has its head, as after a restart it may not: a finished job that came back finished was still
-- the head for what was copied in between. ARGV: webhook, now, where to go on. Returns where to go on, or ''.
-- Prefixes: each effect mends one lane.
local hook, now, from = ARGV[1], ARGV[2], ARGV[3]
for _ = 1, 500 do
  local first = redis.call('ZRANGEBYLEX', of('wait', hook), from, '+', 'LIMIT', 0, 1)[1]
  if not first then
    return ''
  end
  local lane = string.match(first, '^([^%z]*)%z')
  promote(hook, lane, now)
  from = '(' .. lane .. '\1'
end
return from
