-- Returns jobs, leases, and the time of the oldest undelivered entry, or ''. ARGV: now. Prefixes: see `oldest`.
local count = jobs()
local leased = 0
for _, hook in ipairs(redis.call('SMEMBERS', hooks_key)) do
  leased = leased + redis.call('ZCARD', of('leases', hook))
end
local _, fields = oldest(ARGV[1])
local at = fields and fields[4]
local replayed = redis.call('ZRANGE', base .. ':replayed', 0, 0, 'WITHSCORES')[2]
if replayed and (not at or tonumber(replayed) < tonumber(at)) then
  at = replayed
end
return { count, leased, at or '' }
