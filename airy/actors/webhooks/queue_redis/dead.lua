-- The newest dead: when each was buried, and its content. ARGV: the end of their ids, how many at most. No effect.
local base = KEYS[1]
local ending, left, from, answer = ARGV[1], tonumber(ARGV[2]), 0, {}
while left > 0 do
  local some = redis.call('ZREVRANGE', base .. ':graves', from, from + 99, 'WITHSCORES')
  if #some == 0 then
    break
  end
  for i = 1, #some, 2 do
    local id = some[i]
    if left > 0 and (ending == '' or string.sub(id, -#ending) == ending) then
      local packed = redis.call('HGET', base .. ':dead', id)
      if packed then
        answer[#answer + 1] = some[i + 1]
        answer[#answer + 1] = packed
        left = left - 1
      end
    end
  end
  from = from + 100
end
return answer
