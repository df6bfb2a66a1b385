#!lua flags=allow-oom
-- Drops entries below an id, if the token is the current one: one bounded step.
--
-- KEYS  1 ctl (hash), 2 the stream
-- ARGV  1 token, 2 lowest id that stays, 3 most entries to look at; 0 for the last step, which is exact
-- Reply number of entries dropped; -1 when the token is not current
-- Whole nodes of the stream go in the bounded steps; the exact one then finds less than a node to drop.
-- Allowed when Redis is out of memory: trimming is what ends that.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return -1
end
if ARGV[3] == '0' then
    return redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[2])
end
return redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[2], 'LIMIT', ARGV[3])
