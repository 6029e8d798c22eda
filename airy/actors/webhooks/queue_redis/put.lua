-- One entry behind `after`, or the stream's last id if that is another one.
-- ARGV: after, id, jobs put so far with this one, time, lane, content, webhooks…
-- Prefixes: there is one effect. XADD writes the entry and the position together; nothing of it can be there alone.
local last = last_id()
if last ~= ARGV[1] then
  return last
end
if #ARGV == 6 and last ~= '0-0' then
  redis.call('XSETID', stream, ARGV[2]) -- goes nowhere: only the position moves
  return 1
end
local fields = { 't', ARGV[3], 'a', ARGV[4], 'l', ARGV[5], 'b', ARGV[6] }
for i = 7, #ARGV do
  fields[#fields + 1] = 'w'
  fields[#fields + 1] = ARGV[i]
end
redis.call('XADD', stream, ARGV[2], unpack(fields))
return 1
