-- What the scripts of a shard share. `base` is the shard's hash tag; every key of the shard begins with it.
--
-- Two rules, because Redis can lose the end of its append-only file and can bring a torn script back later:
--   1. Every prefix of a script's effects is safe: it may hand something out again, never lose or double an entry.
--   2. Effects are absolute (add this, remove that, set to this), so a prefix that comes back before effects that were
--      decided without it changes nothing they wrote.
-- The truth is the stream: an entry stays in it until no webhook of it waits. A job waits as long as it is in
-- `wait:<webhook>`. Heads, leases and the set of webhooks only say where to look, and `oldest` mends them.

local cursor_key, hooks_key = base .. ':cursor', base .. ':hooks'
local SEQ = 27 -- length of a position as text; that of a replayed delivery is longer
local COPY_MAX = 1000 -- entries and jobs per call, about: a few milliseconds
local PAGE = 100 -- entries that are read at once

local function of(kind, hook)
  return base .. ':' .. kind .. ':' .. hook
end

-- "5-1" as text that sorts
local function padded(id)
  local offset, nth = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 16 - #offset) .. offset .. '-' .. string.rep('0', 10 - #nth) .. nth
end

-- Up to where entries were copied, and how many jobs were put up to there
local function cursor()
  local at = redis.call('GET', cursor_key)
  if not at then
    return nil, '0'
  end
  return string.match(at, '^(%S+) (%S+)$')
end

-- An entry's fields are t, a, l, b, w, w, …: jobs put so far, its time, its lane, its content, its webhooks. Those of a
-- replayed delivery are t, a, l, b, w, j: with one webhook, and the job's id
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

local function first_of(hook, lane)
  return redis.call('ZRANGEBYLEX', of('wait', hook), '[' .. lane .. '\0', '(' .. lane .. '\1', 'LIMIT', 0, 1)[1]
end

local function since(fields, now)
  return tonumber(fields[4]) > tonumber(now) and now or fields[4]
end

-- The first of a lane becomes its head, unless it is that already, leased or not; whether it became that
local function promote(hook, lane, now)
  while true do
    local first = first_of(hook, lane)
    if not first then
      return false
    end
    local seq = string.sub(first, #lane + 2)
    if redis.call('ZSCORE', of('leases', hook), seq) or redis.call('ZSCORE', of('heads', hook), seq) then
      return false
    end
    local fields = entry_of(seq)
    if fields then
      redis.call('ZADD', of('heads', hook), since(fields, now), seq)
      return true
    end
    redis.call('ZREM', of('wait', hook), first) -- there is nothing to deliver
  end
end

-- An entry none of whose webhooks waits leaves the stream. One that is not copied yet waits for its copy
local function forget_entry(seq, fields)
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

-- Prefixes: once it does not wait any more, it is delivered. Until the last effect its lease is there, and when that
-- runs out `expire` does the rest: the next of the lane is not stuck for longer than a lease
local function remove(hook, seq, fields, now)
  if fields then
    redis.call('ZREM', of('wait', hook), member(fields, seq))
  end
  redis.call('ZREM', of('heads', hook), seq)
  if fields then
    promote(hook, fields[6], now)
    forget_entry(seq, fields)
  end
  redis.call('HDEL', of('tries', hook), seq)
  redis.call('ZREM', of('leases', hook), seq)
end

-- An entry becomes a job for each of its webhooks; how many
local function copy_entry(seq, fields, known, now)
  for i = 10, #fields, 2 do
    local hook, this = fields[i], member(fields, seq)
    if not known[hook] then
      redis.call('SADD', hooks_key, hook)
      known[hook] = true
    end
    local new = redis.call('ZADD', of('wait', hook), 0, this)
    if first_of(hook, fields[6]) == this then
      if new == 1 then
        redis.call('ZADD', of('heads', hook), since(fields, now), seq)
      else
        promote(hook, fields[6], now)
      end
    end
  end
  return math.max(0, (#fields - 8) / 2)
end

-- Entries behind the cursor become jobs; whether there are more. Prefixes: adding is absolute and the cursor goes last,
-- so whatever was copied in part is copied again; an entry that is beyond the cursor is never forgotten
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

-- Leases that ran out. Prefixes: it is a head again before it is not leased any more
local function expire(hook, now)
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', of('leases', hook), '-inf', now)) do
    local fields = entry_of(seq)
    if fields and redis.call('ZSCORE', of('wait', hook), member(fields, seq)) then
      local try = redis.call('HGET', of('tries', hook), seq)
      local due = try and string.match(try, '^%S+ %S+ (%S+)') or since(fields, now)
      redis.call('ZADD', of('heads', hook), due, seq)
      redis.call('ZREM', of('leases', hook), seq)
    else
      remove(hook, seq, fields, now) -- it was delivered, and the rest of that was lost
    end
  end
end

-- What points to a job that waits is there; whether it was not
local function mend(hook, fields, now)
  local missing = redis.call('SADD', hooks_key, hook)
  return promote(hook, fields[6], now) or missing == 1
end

-- Replayed deliveries are in no stream; the oldest few of them. Whether there was something to be done
local function mend_replays(now)
  local mended = false
  for _, seq in ipairs(redis.call('ZRANGE', base .. ':replayed', 0, 19)) do
    local fields = entry_of(seq)
    if fields and redis.call('ZSCORE', of('wait', fields[10]), member(fields, seq)) then
      mended = mend(fields[10], fields, now) or mended
    else
      forget_entry(seq, fields)
      mended = true
    end
  end
  return mended
end

-- The first entry somebody waits for: its id and fields, and whether there was something to be done. What is found
-- finished on the way leaves the stream, and what points to the first is mended: so nothing that was torn stays stuck
local function oldest(now)
  local copied = cursor()
  local mended = mend_replays(now)
  for _ = 1, 1000 do
    local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not entry then
      return nil, nil, mended
    end
    local seq, fields, waits = padded(entry[1]), entry[2], false
    if not copied or seq > padded(copied) then
      waits = #fields >= 10
    else
      for i = 10, #fields, 2 do
        if redis.call('ZSCORE', of('wait', fields[i]), member(fields, seq)) then
          waits = true
          mended = mend(fields[i], fields, now) or mended
        end
      end
    end
    if waits then
      return entry[1], fields, mended
    end
    redis.call('XDEL', stream, entry[1])
    mended = true
  end
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  return entry and entry[1], entry and entry[2], true
end

-- How many jobs wait or are leased, and how many were ever put
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
