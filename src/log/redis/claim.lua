#!lua
-- Takes a shard by compare-and-set. The first claim creates ctl and both streams, empty.
--
-- KEYS  1 ctl (hash), 2 messages, 3 receipts
-- ARGV  1 token that must be current ("" when the shard must have no ctl), 2 its beat, 3 the new token, 4 its epoch,
--       5 owner, 6 cluster, 7 number of shards, 8 and 9 tails that a first claim begins with (`offset:chain`), 10 and 11
--       the offsets in them, 12 and 13 tails that the streams must have ("" when any will do)
-- Reply {"CLAIMED", ctl}    ctl as field, value, field, value…
--       {"REFUSED", ctl}    nothing changed; ctl empty when there is none
--       {"OCCUPIED"}        there is no ctl, but a stream with entries: somebody deleted ctl; nothing changed
-- The epoch is the only thing compared as a number; it stays below 2^53.
local ctl = redis.call('HMGET', KEYS[1], 'token', 'beat', 'cluster', 'shards', 'messages', 'receipts')
if not ctl[1] then
    if ARGV[1] ~= '' or tonumber(ARGV[4]) < 1 then
        return {'REFUSED', {}}
    end
    for stream = 2, 3 do
        -- Also when a file is to be adopted: these entries may be the only copy of something newer than it.
        if redis.call('XLEN', KEYS[stream]) > 0 then
            return {'OCCUPIED'}
        end
    end
    for stream = 2, 3 do
        redis.call('DEL', KEYS[stream])
        -- The only way to an empty stream: by way of a group that is not kept.
        redis.call('XGROUP', 'CREATE', KEYS[stream], 'g', '$', 'MKSTREAM')
        redis.call('XGROUP', 'DESTROY', KEYS[stream], 'g')
        if ARGV[stream + 8] ~= '0' then
            redis.call('XSETID', KEYS[stream], ARGV[stream + 8] .. '-0')
        end
    end
    redis.call('HSET', KEYS[1], 'token', ARGV[3], 'owner', ARGV[5], 'beat', 1, 'cluster', ARGV[6], 'shards', ARGV[7],
        'messages', ARGV[8], 'receipts', ARGV[9])
    return {'CLAIMED', redis.call('HGETALL', KEYS[1])}
end
local epoch = tonumber(string.match(ctl[1], '^(%d+):'))
local ends_elsewhere = ARGV[12] ~= '' and (ctl[5] ~= ARGV[12] or ctl[6] ~= ARGV[13])
if ctl[1] ~= ARGV[1] or ctl[2] ~= ARGV[2] or ctl[3] ~= ARGV[6] or ctl[4] ~= ARGV[7] or not epoch
    or tonumber(ARGV[4]) <= epoch or ends_elsewhere then
    return {'REFUSED', redis.call('HGETALL', KEYS[1])}
end
redis.call('HSET', KEYS[1], 'token', ARGV[3], 'owner', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return {'CLAIMED', redis.call('HGETALL', KEYS[1])}
