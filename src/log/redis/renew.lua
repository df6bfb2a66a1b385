#!lua flags=allow-oom
-- Bumps the beat of a shard, if the token is the current one.
--
-- KEYS  1 ctl (hash)
-- ARGV  1 token
-- Reply 1 when it is current, else 0
-- Allowed when Redis is out of memory: an owner must not lose its shards by that.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return 0
end
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return 1
