-- Functions shared by the scripts of a shard. `base` is the shard's hash tag; every key of the shard begins with it.
--
-- Two rules, because Redis can lose the end of its append-only file and can bring a torn script back later:
--   1. Every prefix of a script's effects is safe: it may lease a job again, never lose or duplicate an entry.
--   2. Effects are absolute (add, remove, set), so a prefix that comes back before effects that were decided without it
--      changes nothing they wrote.
-- The stream is the source of truth: an entry stays in it until none of its webhooks has a waiting job. A job waits as
-- long as it is in `wait:<webhook>`. Heads, leases and the set of webhooks are indexes, and `oldest` repairs them.

local cursor_key, hooks_key = base .. ':cursor', base .. ':hooks'
local SEQ = 27 -- length of a position as text; the position of a replayed delivery is longer
local COPY_MAX = 1000 -- entries plus jobs per call, roughly: a few milliseconds
local PAGE = 100 -- entries per read

local function of(kind, hook)
  return base .. ':' .. kind .. ':' .. hook
end

-- "5-1" as text of fixed length that sorts
local function padded(id)
  local offset, nth = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 16 - #offset) .. offset .. '-' .. string.rep('0', 10 - #nth) .. nth
end

-- The id up to which entries were copied, and how many jobs were ever put up to it
local function cursor()
  local at = redis.call('GET', cursor_key)
  if not at then
    return nil, '0'
  end
  return string.match(at, '^(%S+) (%S+)$')
end

-- The fields of an entry are t, a, l, b, w, w, …: jobs ever put, time, lane, content, webhooks. The fields of a replayed
-- delivery are t, a, l, b, w, j: with one webhook, and the job's id
local function entry_of(seq)
  if #seq > SEQ then
    local packed = redis.call('HGET', base .. ':replays', seq)
    return packed and cmsgpack.unpack(packed) or nil
  end
  local id = string.format('%.0f-%.0f', tonumber(string.sub(seq, 1, 16)), tonumber(string.sub(seq, 18)))
  local found = redis.call('XRANGE', stream, id, id)
  return found[1] and found[1][2] or nil
end

local function member(fields, seq)
  return fields[6] .. '\0' .. seq
end

local function first_in_lane(hook, lane)
  return redis.call('ZRANGEBYLEX', of('wait', hook), '[' .. lane .. '\0', '(' .. lane .. '\1', 'LIMIT', 0, 1)[1]
end

local function earlier(time, now)
  return tonumber(time) > tonumber(now) and now or time
end

local function due_since(fields, now)
  return earlier(fields[4], now)
end

-- Makes the first job of a lane its head, unless it is the head already, leased or not; returns whether it did
local function promote(hook, lane, now)
  while true do
    local first = first_in_lane(hook, lane)
    if not first then
      return false
    end
    local seq = string.sub(first, #lane + 2)
    if redis.call('ZSCORE', of('leases', hook), seq) or redis.call('ZSCORE', of('heads', hook), seq) then
      return false
    end
    local fields = entry_of(seq)
    if fields then
      redis.call('ZADD', of('heads', hook), due_since(fields, now), seq)
      return true
    end
    redis.call('ZREM', of('wait', hook), first) -- its entry is gone
  end
end

-- Deletes an entry that no webhook waits for from the stream, unless it is still to be copied
local function delete_entry(seq, fields)
  if #seq > SEQ then
    redis.call('ZREM', base .. ':replayed', seq)
    redis.call('HDEL', base .. ':replays', seq)
    if fields and redis.call('HGET', base .. ':replaying', fields[12]) == seq then
      redis.call('HDEL', base .. ':replaying', fields[12])
    end
    return
  end
  local copied = cursor()
  if not copied or padded(copied) < seq then
    return
  end
  for i = 10, #fields, 2 do
    if redis.call('ZSCORE', of('wait', fields[i]), member(fields, seq)) then
      return
    end
  end
  redis.call('XDEL', stream, string.format('%.0f-%.0f', tonumber(string.sub(seq, 1, 16)), tonumber(string.sub(seq, 18))))
end

-- Removes a job. Prefixes: after the first effect it counts as finished. Its lease is deleted last, and when it expires
-- before that, `expire` does the rest: the next job of the lane waits no longer than a lease
local function remove(hook, seq, fields, now)
  if fields then
    redis.call('ZREM', of('wait', hook), member(fields, seq))
  end
  redis.call('ZREM', of('heads', hook), seq)
  if fields then
    promote(hook, fields[6], now)
    delete_entry(seq, fields)
  end
  redis.call('HDEL', of('tries', hook), seq)
  redis.call('ZREM', of('leases', hook), seq)
end

-- Makes an entry a job for each of its webhooks; returns how many
local function copy_entry(seq, fields, known, now)
  for i = 10, #fields, 2 do
    local hook, this = fields[i], member(fields, seq)
    if not known[hook] then
      redis.call('SADD', hooks_key, hook)
      known[hook] = true
    end
    local new = redis.call('ZADD', of('wait', hook), 0, this)
    if first_in_lane(hook, fields[6]) == this then
      if new == 1 then
        redis.call('ZADD', of('heads', hook), due_since(fields, now), seq)
      else
        promote(hook, fields[6], now)
      end
    end
  end
  return math.max(0, (#fields - 8) / 2)
end

-- Copies entries beyond the cursor to jobs; returns whether there are more. Prefixes: adding is absolute and the cursor
-- is written last, so what was copied in part is copied again; an entry beyond the cursor is never deleted
local function copy(now)
  local copied = cursor()
  local known, count = {}, 0
  while count < COPY_MAX do
    local found = redis.call('XRANGE', stream, copied and '(' .. copied or '-', '+', 'COUNT', PAGE)
    for _, entry in ipairs(found) do
      count = count + 1 + copy_entry(padded(entry[1]), entry[2], known, now)
    end
    local last = found[#found]
    if last then
      redis.call('SET', cursor_key, last[1] .. ' ' .. last[2][2])
      copied = last[1]
    end
    if #found < PAGE then
      return false
    end
  end
  return true
end

-- Ends expired leases. Prefixes: a job is a head again before its lease is deleted
local function expire(hook, now)
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', of('leases', hook), '-inf', now)) do
    local fields = entry_of(seq)
    if fields and redis.call('ZSCORE', of('wait', hook), member(fields, seq)) then
      local try = redis.call('HGET', of('tries', hook), seq)
      local due = try and earlier(string.match(try, '^%S+ %S+ (%S+)'), now) or due_since(fields, now)
      redis.call('ZADD', of('heads', hook), due, seq)
      redis.call('ZREM', of('leases', hook), seq)
    else
      remove(hook, seq, fields, now) -- it was finished, and the rest of `remove` was lost
    end
  end
end

-- Restores the indexes of a waiting job; returns whether one was missing
local function repair(hook, fields, now)
  local missing = redis.call('SADD', hooks_key, hook)
  return promote(hook, fields[6], now) or missing == 1
end

-- Repairs the oldest few replayed deliveries, which are in no stream; returns whether there was something to do
local function repair_replays(now)
  local repaired = false
  for _, seq in ipairs(redis.call('ZRANGE', base .. ':replayed', 0, 19)) do
    local fields = entry_of(seq)
    if fields and redis.call('ZSCORE', of('wait', fields[10]), member(fields, seq)) then
      repaired = repair(fields[10], fields, now) or repaired
    else
      delete_entry(seq, fields)
      repaired = true
    end
  end
  return repaired
end

-- The first undelivered entry: its id and fields, and whether there was something to repair. Finished entries found on
-- the way are deleted, and the indexes of the first are repaired: so no torn script blocks the shard
local function oldest(now)
  local copied = cursor()
  local repaired = repair_replays(now)
  for _ = 1, 1000 do
    local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not entry then
      return nil, nil, repaired
    end
    local seq, fields, waits = padded(entry[1]), entry[2], false
    if not copied or seq > padded(copied) then
      waits = #fields >= 10
    else
      for i = 10, #fields, 2 do
        if redis.call('ZSCORE', of('wait', fields[i]), member(fields, seq)) then
          waits = true
          repaired = repair(fields[i], fields, now) or repaired
        end
      end
    end
    if waits then
      return entry[1], fields, repaired
    end
    redis.call('XDEL', stream, entry[1])
    repaired = true
  end
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  return entry and entry[1], entry and entry[2], true
end

-- The number of jobs waiting or leased, and of jobs ever put
local function jobs()
  local _, before = cursor()
  local copied = cursor()
  local total = before
  local entry = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if entry and (not copied or padded(entry[1]) > padded(copied)) then
    total = entry[2][2]
  end
  local count = tonumber(total) - tonumber(before)
  for _, hook in ipairs(redis.call('SMEMBERS', hooks_key)) do
    count = count + redis.call('ZCARD', of('wait', hook))
  end
  return count, total
end
