-- Returns the first undelivered id and the last id. ARGV: now. Removes a webhook without jobs from the set.
-- Prefixes: see `oldest`. A webhook is removed in a call that has no other effect, so that it cannot be torn: if that
-- came back later, a webhook would be missing that has jobs meanwhile.
local id, _, repaired = oldest(ARGV[1])
if not repaired then
  for _, hook in ipairs(redis.call('SMEMBERS', hooks_key)) do
    if redis.call('EXISTS', of('wait', hook), of('leases', hook)) == 0 then
      redis.call('SREM', hooks_key, hook)
      break
    end
  end
end
return { id or '', last_id() }
