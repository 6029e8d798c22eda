-- Returns the earliest time a head becomes due or a lease expires; '' for never. ARGV: now. Prefixes: see `copy`.
if copy(ARGV[1]) then
  return '0'
end
local earliest
for _, hook in ipairs(redis.call('SMEMBERS', hooks_key)) do
  for _, kind in ipairs({ 'heads', 'leases' }) do
    local first = redis.call('ZRANGE', of(kind, hook), 0, 0, 'WITHSCORES')[2]
    if first and (not earliest or tonumber(first) < tonumber(earliest)) then
      earliest = first
    end
  end
end
return earliest or ''
