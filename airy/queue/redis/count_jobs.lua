-- Returns the last id, the number of jobs waiting or leased, the number of jobs ever put. No effect.
local count, total = jobs()
return { last_id(), count, total }
