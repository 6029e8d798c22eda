-- When the oldest dead were buried, in order. ARGV: how many at most. No effect.
local base = KEYS[1]
local answer, found = {}, redis.call('ZRANGE', base .. ':graves', 0, ARGV[1] - 1, 'WITHSCORES')
for i = 2, #found, 2 do
  answer[#answer + 1] = found[i]
end
return answer
