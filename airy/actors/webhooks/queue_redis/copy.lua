-- Entries become jobs; 1 if there are more. ARGV: now. Prefixes: those of `copy`.
return copy(ARGV[1]) and 1 or 0
