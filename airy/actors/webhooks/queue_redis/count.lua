-- The last id, the jobs that wait or are leased, the jobs ever put. No effect.
local count, total = jobs()
return { last_id(), count, total }
