-- Returns the commands that this user is denied. ARGV: pairs of a command and the key or channel to check it on, or ''.
-- No effect: no command is run.
local answer = {}
for i = 1, #ARGV, 2 do
  local words = {}
  for word in string.gmatch(ARGV[i], '[^|]+') do
    words[#words + 1] = word
  end
  for _ = 1, ARGV[i + 1] == '' and 0 or 3 do
    words[#words + 1] = ARGV[i + 1]
  end
  if not redis.acl_check_cmd(unpack(words)) then
    answer[#answer + 1] = ARGV[i]
  end
end
return answer
