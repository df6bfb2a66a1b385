#!lua
-- Appends one entry right after the stream's tail, under the current token.
--
-- KEYS  1 ctl (hash), 2 the stream
-- ARGV  1 token, 2 tail the stream must have, 3 tail after the entry (both `offset:chain`), 4 field of ctl that holds
--       the stream's tail, 5 id of the entry, 6 the entry
-- Reply {"OK"}              written
--       {"DONE"}            written before: the tail is exactly this entry's
--       {"FENCED", token}   another token is current ("" when there is no ctl)
--       {"MISMATCH", tail}  another tail
--       {"NOSTREAM"}        the stream is gone
--       {"BLOCKED", words}  the stream refuses the id though ctl would allow it
-- Only OK and DONE have written; everything is checked before the first write.
-- No flags: Redis refuses to begin it when it is out of memory, read-only, misconfigured or short of replicas.
local ctl = redis.call('HMGET', KEYS[1], 'token', ARGV[4], 'beat')
if ctl[1] ~= ARGV[1] then
    return {'FENCED', ctl[1] or ''}
end
if ctl[2] == ARGV[3] then
    -- A write, so that a WAIT behind it waits: it counts only what its own connection wrote.
    redis.call('HINCRBY', KEYS[1], 'beat', 1)
    return {'DONE'}
end
if ctl[2] ~= ARGV[2] then
    return {'MISMATCH', ctl[2] or ''}
end
-- A stream that is gone is never begun anew: what it held would be missing without a sign.
local id = redis.pcall('XADD', KEYS[2], 'NOMKSTREAM', ARGV[5], 'e', ARGV[6])
if not id then
    return {'NOSTREAM'}
end
if type(id) == 'table' then
    return {'BLOCKED', id.err or ''}
end
-- Tail and beat in one command: each one more is replicated and logged. The beat stays below 2^53.
redis.call('HSET', KEYS[1], ARGV[4], ARGV[3], 'beat', string.format('%.0f', tonumber(ctl[3]) + 1))
return {'OK'}
