-- Gives every lane of a webhook its head. After a restart one may be missing: a completed job whose completion came
-- back was still the head for jobs copied in between. ARGV: webhook, now, where to resume. Returns where to resume,
-- or ''. Prefixes: each effect repairs one lane.
local hook, now, resume = ARGV[1], ARGV[2], ARGV[3]
for _ = 1, 500 do
  local first = redis.call('ZRANGEBYLEX', of('wait', hook), resume, '+', 'LIMIT', 0, 1)[1]
  if not first then
    return ''
  end
  local lane = string.match(first, '^([^%z]*)%z')
  promote(hook, lane, now)
  resume = '(' .. lane .. '\1'
end
return resume
