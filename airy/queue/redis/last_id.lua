-- The position of a shard: the last id of its stream, which only XADD and XSETID write. It survives the deletion of
-- entries, an AOF rewrite and a restart.
local base = KEYS[1]
local stream = base .. ':in'

local function last_id()
  local info = redis.pcall('XINFO', 'STREAM', stream)
  if info.err then
    if string.find(info.err, 'no such key', 1, true) then
      return '0-0'
    end
    error(info.err)
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end
