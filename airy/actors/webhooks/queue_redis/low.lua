-- The first undelivered id, and the last id. ARGV: now. A webhook for whom nothing waits is not looked at any more.
-- Prefixes: those of `oldest`. A webhook leaves the set in a call that does nothing else, so that this cannot be torn:
-- if it came back later, a webhook would be gone for whom something was put meanwhile.
local id, _, mended = oldest(ARGV[1])
if not mended then
  for _, hook in ipairs(redis.call('SMEMBERS', hooks_key)) do
    if redis.call('EXISTS', of('wait', hook), of('leases', hook)) == 0 then
      redis.call('SREM', hooks_key, hook)
      break
    end
  end
end
return { id or '', last_id() }
