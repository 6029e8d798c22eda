-- Appends one entry after `after`; returns 1, or the stream's last id if it differs.
-- ARGV: after, id, jobs ever put including this entry's, time, lane, content, webhooks…
-- Prefixes: there is one effect. XADD writes the entry and the position together.
local last = last_id()
if last ~= ARGV[1] then
  return last
end
if #ARGV == 6 and last ~= '0-0' then
  redis.call('XSETID', stream, ARGV[2]) -- no webhook: only the position moves
  return 1
end
local fields = { 't', ARGV[3], 'a', ARGV[4], 'l', ARGV[5], 'b', ARGV[6] }
for i = 7, #ARGV do
  fields[#fields + 1] = 'w'
  fields[#fields + 1] = ARGV[i]
end
redis.call('XADD', stream, ARGV[2], unpack(fields))
return 1
