-- Copies entries to jobs; returns 1 if there are more. ARGV: now. Prefixes: see `copy`.
return copy(ARGV[1]) and 1 or 0
